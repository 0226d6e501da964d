// Colours: of kinds, of microbatches, and of the page in its light or dark theme.
const palette = microbatches => {
  // Okabe and Ito (2008): told apart with any colour vision.
  const KINDS = {
    "forward": "#0072b2", "backward": "#e69f00", "backward-input": "#d55e00",
    "backward-weight": "#009e73", "optimizer": "#cc79a7", "collective": "#f0e442",
    "other": "#999999", "transfer": "#56b4e9",
  };
  const DARK = new Set(["#0072b2", "#d55e00", "#009e73"]);
  // Viridis at five points: even in grey it grows lighter all along.
  const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const shade = m => {
    const x = microbatches ? m / microbatches * (SCALE.length - 1) : 0;
    const i = Math.min(Math.floor(x), SCALE.length - 2);
    return `rgb(${SCALE[i].map((c, k) => Math.round(c + (SCALE[i + 1][k] - c) * (x - i))).join(",")})`;
  };
  const shades = Array.from({ length: microbatches + 1 }, (_, m) => shade(m));
  const theme = {};
  return {
    theme,
    ofKind: kind => KINDS[kind] || KINDS.other,
    ofMicrobatch: m => m < 0 ? KINDS.other : shades[m],
    // What is written on a bar of a colour.
    inkOnKind: kind => DARK.has(KINDS[kind]) ? "#fff" : "#000",
    inkOnMicrobatch: m => m >= 0 && m * 2 < microbatches ? "#fff" : "#000",
    read: () => {
      const style = getComputedStyle(document.documentElement);
      for (const name of ["paper", "ink", "muted", "line", "lane", "memory", "limit", "path"])
        theme[name] = style.getPropertyValue(`--${name}`).trim();
    },
  };
};

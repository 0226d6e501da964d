// Colours: of kinds, of microbatches, and of the page in its light or dark theme.
const palette = (kinds, microbatches) => {
  const NONE = "#999999";  // of what runs once per step
  // Viridis at five points, less its darkest, which is not seen on a dark page: even in grey it grows lighter.
  const SCALE = [[72, 50, 140], [49, 104, 142], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const shade = m => {
    const x = microbatches ? m / microbatches * (SCALE.length - 1) : 0;
    const i = Math.min(Math.floor(x), SCALE.length - 2);
    return `rgb(${SCALE[i].map((c, k) => Math.round(c + (SCALE[i + 1][k] - c) * (x - i))).join(",")})`;
  };
  const shades = Array.from({ length: microbatches + 1 }, (_, m) => shade(m));
  const theme = {};
  return {
    theme,
    ofKind: kind => kinds[kind][0],
    ofMicrobatch: m => m < 0 ? NONE : shades[m],
    // What is written on a bar of a colour.
    inkOnKind: kind => kinds[kind][1],
    inkOnMicrobatch: m => m >= 0 && m * 2 < microbatches ? "#fff" : "#000",
    read: () => {
      const style = getComputedStyle(document.documentElement);
      for (const name of ["paper", "ink", "muted", "line", "lane", "memory", "limit", "path"])
        theme[name] = style.getPropertyValue(`--${name}`).trim();
    },
  };
};

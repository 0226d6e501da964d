// A page with one timeline: what of it every report has.
const page = (scene, name) => {
  const colours = palette(scene.colours, scene.microbatches);
  const line = timeline(scene, colours);
  const finder = finding(line);
  const colourBy = document.getElementById("colour");
  const legend = document.getElementById("legend");

  const swatch = (colour, text) => {
    const entry = document.createElement("span"), box = document.createElement("i");
    box.style.background = colour;
    entry.append(box, text);
    legend.append(entry);
  };
  const recolour = () => {
    line.colourBy(colourBy.value);
    legend.replaceChildren();
    if (colourBy.value === "kind") Object.keys(scene.colours).forEach(kind => swatch(colours.ofKind(kind), kind));
    else {
      swatch(colours.ofMicrobatch(0), "microbatch 0");
      if (scene.microbatches) swatch(colours.ofMicrobatch(scene.microbatches), `microbatch ${scene.microbatches}`);
      swatch(colours.ofMicrobatch(-1), "once per step");
    }
  };
  const show = rows => { line.stack(rows); finder.look(); };
  colourBy.addEventListener("change", recolour);
  document.getElementById("picture").addEventListener("click", () => line.canvas.toBlob(blob => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));
  moving(line, finder);
  boxesFind(finder);
  onTheme(() => { colours.read(); line.redraw(); });
  recolour();
  show(scene.rows);
  line.fit();
  line.draw();  // at once: a page that is printed or saved as it loads is not blank
  document.documentElement.dataset.drawn = Math.round(performance.now());
  return show;
};

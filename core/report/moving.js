// Pointer and keyboard: zoom, move, hover, select.
const moving = (line, finder) => {
  const { view, canvas, axis } = line;
  const tip = document.getElementById("tip");
  const details = document.getElementById("details");
  const told = bar => bar.row.type === "memory" ? describeMemory(bar.row, bar.instant)
    : bar.row.source.describe(bar.lane.item[bar.i], bar.row, bar.lane, bar.i);
  const select = bar => {
    line.select(bar);
    details.textContent = bar ? told(bar).split("\n").join("; ") : "";
  };
  const go = step => { const bar = finder.jump(step); if (bar) select(bar); };

  // -- pointer ---------------------------------------------------------------------------------
  const place = event => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  view.addEventListener("wheel", event => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      line.pan((event.deltaX || event.deltaY) / 900);
    else line.zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY)) / 400), axis.at(place(event)[0]));
  }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", event => {
    drag = { x: event.clientX, y: event.clientY, range: line.range, top: view.scrollTop, moved: false };
    canvas.setPointerCapture(event.pointerId);
    view.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointerup", event => {
    const bar = drag && !drag.moved ? line.at(...place(event)) : undefined;
    drag = null;
    if (bar !== undefined) select(bar?.lane ? bar : null);
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("dblclick", event => line.zoom(.35, axis.at(place(event)[0])));
  canvas.addEventListener("pointermove", event => {
    if (drag) {
      const across = event.clientX - drag.x, [from, to] = drag.range;
      drag.moved ||= Math.abs(across) + Math.abs(event.clientY - drag.y) > 3;
      const moved = across / (axis.right - axis.left) * (to - from);
      line.show(from - moved, to - moved);
      view.scrollTop = drag.top - (event.clientY - drag.y);
    }
    const bar = drag ? null : line.at(...place(event));
    const text = bar ? told(bar) : "";
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight
      ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

  // -- keyboard --------------------------------------------------------------------------------
  const bars = () => line.rows.filter(row => row.type === "bars" && row.lanes.some(lane => lane.item.length));
  const first = () => ({ row: bars()[0], lane: bars()[0].lanes[0], i: 0 });
  const beside = step => {  // the bar before or after the selected one
    const old = line.selected;
    const bar = old ? { ...old, i: Math.min(Math.max(old.i + step, 0), old.lane.item.length - 1) } : first();
    select(bar);
    line.reveal(bar.lane.start[bar.i], bar.lane.end[bar.i], bar.row);
  };
  const across = step => {  // the bar of the row above or below, at about the same time
    const old = line.selected;
    if (!old) { beside(0); return; }
    const rows = bars(), row = rows[Math.min(Math.max(rows.indexOf(old.row) + step, 0), rows.length - 1)];
    const lane = row.lanes[0], bar = { row, lane, i: barAt(lane, old.lane.start[old.i], Infinity) };
    select(bar);
    line.reveal(lane.start[bar.i], lane.end[bar.i], row);
  };
  const scroll = step => { view.scrollTop += step; };
  const keys = {
    "+": () => line.zoom(.7), "=": () => line.zoom(.7), "w": () => line.zoom(.7),
    "-": () => line.zoom(1 / .7), "s": () => line.zoom(1 / .7),
    "a": () => line.pan(-.2), "d": () => line.pan(.2),
    "ArrowLeft": () => line.pan(-.2), "ArrowRight": () => line.pan(.2),
    "ArrowUp": () => scroll(-60), "ArrowDown": () => scroll(60),
    "0": line.fit, "f": line.fit, "c": finder.toggle, "n": () => go(1), "N": () => go(-1),
    "/": () => finder.search.focus(),
    "Escape": () => { finder.clear(); select(null); tip.hidden = true; },
  };
  const shifted = {
    "ArrowLeft": () => beside(-1), "ArrowRight": () => beside(1),
    "ArrowUp": () => across(-1), "ArrowDown": () => across(1),
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === finder.search) {
      if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
      if (event.key === "Escape") { keys.Escape(); view.focus(); }
      return;
    }
    if (event.target.closest?.("input, select, button, summary")) return;
    // The page scrolls with arrows up and down, unless the timeline has the focus.
    if (/^Arrow(Up|Down)$/.test(event.key) && event.target !== view) return;
    const act = (event.shiftKey && shifted[event.key]) || keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  view.addEventListener("scroll", line.redraw);
  addEventListener("resize", line.redraw);
  for (const [id, act] of [["fit", line.fit], ["in", keys["+"]], ["out", keys["-"]]])
    document.getElementById(id).addEventListener("click", act);
};

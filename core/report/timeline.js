// A timeline on one canvas: rows of bars and of memory, over an axis of seconds.
// Names only ever reach the page as canvas text or textContent.
//
// A scene has `horizon` and `shortest` (seconds), `colours` ([of a bar, of its text] by kind), `microbatches`
// (the largest), and `rows`, each of a `type`:
//   "title"   name, note
//   "bars"    name, lane (pixels of one), lanes (of barLane), source, path (or null; see path.js)
//   "memory"  of memoryRow
// A source tells of an item: kind(item), microbatch(item), text(item), short(item) for where there is less
// room, describe(item, row, lane, i), and matches(item) after look(has), where has(name) says whether a name is looked for.
const TALL = 20;  // pixels of a lane that holds text
const AXIS = 26, MEMORY = 34, PAD = 6, TITLE = 22;

const timeline = (scene, colours) => {
  const view = document.getElementById("view");
  const canvas = view.querySelector("canvas");
  const spacer = document.getElementById("spacer");
  const pen = canvas.getContext("2d");
  const { horizon } = scene, { theme } = colours;
  const paint = {};  // how bars are coloured, see colourBy
  let from = 0, to = horizon, waiting = false, breadth = 1;
  let names = 160;  // pixels of the names of rows: fewer on a narrow screen
  let rows = [], total = AXIS, paths = [], selected = null;

  const axis = {
    left: names, right: names + breadth,
    x: instant => names + (instant - from) / (to - from) * breadth,
    at: pixel => from + (pixel - names) / breadth * (to - from),
  };

  const stack = given => {
    total = AXIS;
    rows = given.map(row => {
      const height = row.type === "bars" ? row.lanes.length * row.lane
        : row.type === "memory" ? MEMORY : TITLE;
      if (row.type === "title" && total > AXIS) total += PAD;
      const placed = { ...row, y: total, height };
      total += height + (row.type === "title" || row.lane < TALL ? 1 : PAD);
      return placed;
    });
    spacer.style.height = `${Math.max(0, total - canvas.clientHeight)}px`;  // or nothing gives room
    paths = [...new Set(rows.map(row => row.path))].filter(Boolean).map(path => ({ path, heights: path.places(rows) }));
    selected = null;
    redraw();
  };

  // -- drawing -------------------------------------------------------------------------------
  const cut = (text, room) => {
    const wide = pen.measureText(text).width;
    if (wide <= room) return text;
    const dots = pen.measureText("\u2026").width;
    let count = Math.floor(text.length * room / wide);
    while (count > 0 && pen.measureText(text.slice(0, count)).width + dots > room) count--;
    return count > 0 ? `${text.slice(0, count)}\u2026` : "";
  };
  const label = (text, y, colour, room = names - 14) => {
    pen.fillStyle = colour;
    pen.textAlign = "left";
    pen.fillText(cut(text, room), 6, y);
  };
  const eachMark = draw => {  // round instants, about 110 pixels apart
    const rough = (to - from) * 110 / breadth;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(k => k * power).find(s => s >= rough);
    for (let k = Math.ceil(from / step); k * step <= to; k++) draw(axis.x(k * step), k * step);
  };
  const drawGrid = () => {
    pen.strokeStyle = theme.line;
    pen.beginPath();
    eachMark(x => { pen.moveTo(x, AXIS - 6); pen.lineTo(x, canvas.clientHeight); });
    pen.stroke();
  };
  const drawAxis = () => {
    pen.fillStyle = theme.paper;
    pen.fillRect(0, 0, axis.right, AXIS - 6);
    pen.fillStyle = theme.muted;
    pen.textAlign = "center";
    eachMark((x, instant) =>
      pen.fillText(seconds(instant), Math.min(Math.max(x, names + 20), axis.right - 24), 11));
  };
  const drawTitle = (row, top) => {
    pen.fillStyle = theme.paper;
    pen.fillRect(0, top, axis.right, row.height);
    pen.font = "600 13px system-ui, sans-serif";
    const wide = Math.min(pen.measureText(row.name).width, axis.right - 12);
    label(row.name, top + row.height / 2, theme.ink, axis.right - 12);
    pen.font = "12px system-ui, sans-serif";
    if (row.note) {
      pen.fillStyle = theme.muted;
      pen.fillText(cut(row.note, Math.max(0, axis.right - wide - 30)), wide + 20, top + row.height / 2);
    }
  };
  const drawSelected = scrolled => {
    const { row, lane, i } = selected;
    const left = Math.max(axis.left, axis.x(lane.start[i])), right = Math.min(axis.right, axis.x(lane.end[i]));
    if (right < axis.left || left > axis.right) return;
    pen.strokeStyle = theme.ink;
    pen.lineWidth = 2;
    pen.strokeRect(left - 1, row.y - scrolled + row.lanes.indexOf(lane) * row.lane, Math.max(right - left, 1) + 2, row.lane);
    pen.lineWidth = 1;
  };

  const draw = () => {
    waiting = false;
    const ratio = devicePixelRatio || 1;
    const wide = view.clientWidth, tall = Math.min(total, view.clientHeight), scrolled = view.scrollTop;
    names = Math.min(160, Math.max(72, wide * .25));
    breadth = Math.max(1, wide - names);
    axis.left = names;
    axis.right = names + breadth;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(tall * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(tall * ratio);
      canvas.style.width = `${wide}px`;
      canvas.style.height = `${tall}px`;
    }
    spacer.style.height = `${Math.max(0, total - tall)}px`;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, wide, tall);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const seen = rows.filter(row => row.y + row.height - scrolled >= AXIS && row.y - scrolled < tall);
    pen.fillStyle = theme.lane;
    for (const row of seen)
      if (row.type === "bars") pen.fillRect(names, row.y - scrolled, breadth, row.height);
    drawGrid();
    for (const row of seen) {
      const top = row.y - scrolled;
      if (row.type === "title") { drawTitle(row, top); continue; }
      if (row.type === "bars")
        row.lanes.forEach((lane, number) => drawBars(pen, lane, top + number * row.lane, row.lane, axis, paint.of(row.source), cut));
      else drawMemory(pen, row, top, axis, theme);
      if (row.height >= 11 || row.named)
        label(row.name, top + Math.min(row.height, row.type === "memory" ? MEMORY : row.lane) / 2,
          row.type === "memory" ? theme.muted : theme.ink);
    }
    if (paint.path) for (const { path, heights } of paths) drawPath(pen, path, heights, scrolled, axis, theme);
    if (selected) drawSelected(scrolled);
    drawAxis();
    view.dataset.from = from;  // for who watches from outside
    view.dataset.to = to;
  };
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

  // -- moving about ----------------------------------------------------------------------------
  const show = (a, b) => {
    const length = Math.min(Math.max(b - a, scene.shortest), horizon * 1.02);
    from = Math.min(Math.max(a, -horizon * .01), horizon * 1.01 - length);
    to = from + length;
    redraw();
  };
  const reveal = (start, end, row) => {  // a bar with some of what is around it
    const room = Math.max((end - start) * 12, horizon / 2000);
    if (end < from || start > to || end - start < (to - from) / 200) show((start + end - room) / 2, (start + end + room) / 2);
    if (row.y < view.scrollTop + AXIS || row.y + row.height > view.scrollTop + view.clientHeight)
      view.scrollTop = row.y - view.clientHeight / 2;
    redraw();
  };
  const rowAt = y => rows[after(rows.map(row => row.y), y) - 1];
  return {
    view, canvas, axis, stack, draw, redraw, show, reveal, heads: AXIS,
    get rows() { return rows; },
    get steps() { return paths.reduce((count, { path }) => count + path.start.length, 0); },
    get range() { return [from, to]; },
    get selected() { return selected; },
    select: bar => { selected = bar; redraw(); },
    zoom: (factor, instant = (from + to) / 2) => show(instant - (instant - from) * factor, instant + (to - instant) * factor),
    pan: part => show(from + (to - from) * part, to + (to - from) * part),
    fit: () => show(-horizon * .01, horizon * 1.01),
    showPath: on => { paint.path = on; redraw(); },
    colourBy: what => {
      paint.of = what === "kind"
        ? source => ({ byKind: true, ofKind: colours.ofKind, colour: item => colours.ofKind(source.kind(item)), ink: item => colours.inkOnKind(source.kind(item)) })
        : source => ({ byKind: false, colour: item => colours.ofMicrobatch(source.microbatch(item)), ink: item => colours.inkOnMicrobatch(source.microbatch(item)) });
      redraw();
    },
    // What is at a point of the canvas: {row, lane, i} of a bar, {row, instant} of memory, or null.
    at: (x, y) => {
      if (x < names || y < AXIS) return null;
      const row = rowAt(y + view.scrollTop), instant = axis.at(x), inside = row && y + view.scrollTop - row.y;
      if (!row || row.type === "title" || inside >= row.height) return null;
      if (row.type === "memory") return { row, instant };
      const lane = row.lanes[Math.floor(inside / row.lane)];
      const i = lane ? barAt(lane, instant, 2 * (to - from) / breadth) : -1;
      return i < 0 ? null : { row, lane, i };
    },
  };
};

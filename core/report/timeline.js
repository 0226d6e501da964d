"use strict";
// A timeline on one canvas: zoom, move, hover, search, legend. Times are seconds.
// Names only ever reach the page as canvas text or textContent.
const after = (sorted, value) => {  // index of the first entry above value
  let low = 0, high = sorted.length;
  while (low < high) { const mid = (low + high) >> 1; if (sorted[mid] > value) high = mid; else low = mid + 1; }
  return low;
};
const seconds = s => {
  const a = Math.abs(s);
  if (a === 0) return "0 s";
  for (const [scale, unit] of [[1, "s"], [1e3, "ms"], [1e6, "us"]])
    if (a * scale >= 1) return `${Number((s * scale).toPrecision(6))} ${unit}`;
  return `${Number((s * 1e9).toPrecision(6))} ns`;
};
const bytes = count => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (Math.abs(count) >= 1024 && i < units.length - 1) { count /= 1024; i++; }
  return `${i ? count.toFixed(2) : count} ${units[i]}`;
};
const runs = microbatch => microbatch < 0 ? "once per step" : `microbatch ${microbatch}`;
const span = (start, end) => `${seconds(start)} to ${seconds(end)} (${seconds(end - start)})`;
const TALL = 20;  // pixels of a lane that holds text

// A scene has `horizon` and `shortest` (seconds), `kinds`, `microbatches` (the largest number) and
// `rows`, each of a `type`:
//   "title"   name, note, strong
//   "bars"    name, lane (pixels of one), lanes [{item, start, end}], source
//   "memory"  name, device, at, bytes, limit, peak
// A source tells of an item: kind(item), microbatch(item), text(item), describe(item, row, lane, i),
// and matches(item) after look(has), where has(name) says whether a name is looked for.
// Returns a function that shows other rows.
const timeline = scene => {
  const view = document.getElementById("view");
  const canvas = view.querySelector("canvas");
  const spacer = document.getElementById("spacer");
  const tip = document.getElementById("tip");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const colourBy = document.getElementById("colour");
  const pen = canvas.getContext("2d");

  const LABEL = 150, AXIS = 26, MEMORY = 34, PAD = 6, TITLE = 22;
  // Okabe and Ito (2008): told apart with any colour vision.
  const KINDS = {
    "forward": "#0072b2", "backward": "#e69f00", "backward-input": "#d55e00",
    "backward-weight": "#009e73", "optimizer": "#cc79a7", "collective": "#56b4e9",
    "other": "#999999", "transfer": "#56b4e9",
  };
  const DARK = new Set(["#0072b2", "#d55e00", "#009e73"]);
  // Viridis at five points.
  const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const { horizon, microbatches } = scene;
  let from = 0, to = horizon, has = null, hits = [], hit = -1, theme = {}, waiting = false;
  let rows = [], total = AXIS;

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
    look();
  };

  // -- colours -------------------------------------------------------------------------------
  const shade = m => {
    if (m < 0) return "#999999";
    const x = microbatches ? m / microbatches * (SCALE.length - 1) : 0;
    const i = Math.min(Math.floor(x), SCALE.length - 2);
    const mix = SCALE[i].map((c, k) => Math.round(c + (SCALE[i + 1][k] - c) * (x - i)));
    return `rgb(${mix.join(",")})`;
  };
  const shades = Array.from({ length: microbatches + 1 }, (_, m) => shade(m));
  const byKind = (source, item) => KINDS[source.kind(item)] || KINDS.other;
  const byMicrobatch = (source, item) => {
    const m = source.microbatch(item);
    return m < 0 ? "#999999" : shades[m];
  };

  // -- drawing -------------------------------------------------------------------------------
  let breadth = 1;  // of the part that shows time, in pixels
  const width = () => breadth;
  const x = tick => LABEL + (tick - from) / (to - from) * width();
  const cut = (text, room) => {
    if (pen.measureText(text).width <= room) return text;
    const wide = pen.measureText("\u2026").width;
    let count = Math.floor(text.length * room / pen.measureText(text).width);
    while (count > 0 && pen.measureText(text.slice(0, count)).width + wide > room) count--;
    return count > 0 ? `${text.slice(0, count)}\u2026` : "";
  };
  const label = (text, y, colour, room = LABEL - 14) => {
    pen.fillStyle = colour;
    pen.textAlign = "left";
    pen.fillText(cut(text, room), 6, y);
  };

  const drawBars = (row, top, colour) => {
    const { source } = row;
    row.lanes.forEach((lane, number) => {
      const y = top + number * row.lane, gap = row.lane >= TALL ? 1 : 0, tall = row.lane - 2 * gap;
      let drawn = -1, style = "";
      for (let i = Math.max(0, after(lane.end, from) - 1); i < lane.start.length; i++) {
        if (lane.start[i] > to) break;
        const item = lane.item[i];
        const left = Math.max(LABEL, x(lane.start[i])), right = Math.min(x(lane.end[i]), LABEL + width());
        const on = !has || source.matches(item);
        // Bars thinner than a pixel share it: the first one that matches is seen.
        if (right < drawn && !(has && on)) continue;
        const fill = colour(source, item);
        if (has) pen.globalAlpha = on ? 1 : .15;
        if (fill !== style) pen.fillStyle = style = fill;
        const wide = Math.max(1, right - left - (right - left > 3 ? .6 : 0));
        pen.fillRect(left, y + gap, wide, tall);
        drawn = left + wide;
        const text = row.lane >= 12 && wide > 10 ? source.text(item) : "";
        if (text && wide > (text.length > 4 ? 34 : 5 + 7 * text.length)) {
          pen.fillStyle = DARK.has(fill) || (colour === byMicrobatch && source.microbatch(item) * 2 < microbatches) ? "#fff" : "#000";
          style = "";
          pen.textAlign = "left";
          pen.fillText(cut(text, wide - 2), left + (text.length > 4 ? 4 : 2), y + row.lane / 2 + .5);
        }
      }
      pen.globalAlpha = 1;
    });
  };

  const drawMemory = (row, top) => {
    const { at, bytes: level, limit, peak } = row;
    const scale = (row.height - 4) / Math.max(limit ?? 0, peak, 1), floor = top + row.height;
    pen.fillStyle = theme.memory;
    let i = Math.max(0, after(at, from) - 1);
    while (i < at.length && at[i] < to) {
      const left = Math.max(LABEL, x(at[i]));
      let most = level[i], next = i + 1;
      // Steps that share a pixel show their highest level: a peak is never hidden.
      while (next < at.length && x(at[next]) < left + 1) most = Math.max(most, level[next++]);
      const right = Math.min(next < at.length ? x(at[next]) : x(horizon), LABEL + width());
      pen.fillRect(left, floor - most * scale, Math.max(right - left, 1), most * scale);
      i = next;
    }
    if (limit != null) {
      pen.strokeStyle = theme.limit;
      pen.setLineDash([5, 4]);
      pen.beginPath();
      pen.moveTo(LABEL, floor - limit * scale);
      pen.lineTo(LABEL + width(), floor - limit * scale);
      pen.stroke();
      pen.setLineDash([]);
    }
  };

  const eachMark = mark => {  // round instants, about 110 pixels apart
    const rough = (to - from) * 110 / Math.max(width(), 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(k => k * power).find(s => s >= rough);
    for (let k = Math.ceil(from / step); k * step <= to; k++) mark(x(k * step), k * step);
  };
  const drawGrid = () => {
    pen.strokeStyle = theme.line;
    pen.beginPath();
    eachMark(at => { pen.moveTo(at, AXIS - 6); pen.lineTo(at, canvas.clientHeight); });
    pen.stroke();
  };
  const drawAxis = () => {
    pen.fillStyle = theme.paper;
    pen.fillRect(0, 0, LABEL + width(), AXIS - 6);
    pen.fillStyle = theme.muted;
    pen.textAlign = "center";
    eachMark((at, tick) =>
      pen.fillText(seconds(tick), Math.min(Math.max(at, LABEL + 20), LABEL + width() - 24), 11));
  };

  const drawTitle = (row, top) => {
    pen.fillStyle = theme.paper;
    pen.fillRect(0, top, LABEL + width(), row.height);
    pen.font = "600 13px system-ui, sans-serif";
    const wide = Math.min(pen.measureText(row.name).width, LABEL + width() - 12);
    label(row.name, top + row.height / 2, theme.ink, LABEL + width() - 12);
    pen.font = "12px system-ui, sans-serif";
    if (row.note) {
      pen.fillStyle = theme.muted;
      pen.fillText(cut(row.note, Math.max(0, LABEL + width() - wide - 30)), wide + 20, top + row.height / 2);
    }
  };

  const draw = () => {
    waiting = false;
    const ratio = devicePixelRatio || 1;
    const wide = view.clientWidth, tall = Math.min(total, view.clientHeight);
    breadth = Math.max(1, wide - LABEL);
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(tall * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(tall * ratio);
      canvas.style.width = `${wide}px`;
      canvas.style.height = `${tall}px`;
    }
    spacer.style.height = `${Math.max(0, total - tall)}px`;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = theme.paper;
    pen.fillRect(0, 0, wide, tall);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const colour = colourBy.value === "kind" ? byKind : byMicrobatch;
    for (const row of rows)
      if (row.type === "bars" && row.y < view.scrollTop + tall) {
        pen.fillStyle = theme.lane;
        pen.fillRect(LABEL, row.y - view.scrollTop, width(), row.height);
      }
    drawGrid();
    for (const row of rows) {
      const top = row.y - view.scrollTop;
      if (top + row.height < AXIS || top > tall) continue;
      if (row.type === "bars") drawBars(row, top, colour);
      if (row.type === "memory") drawMemory(row, top);
      if (row.type === "title") drawTitle(row, top);
      else if (row.height >= 11 || row.named)
        label(row.name, top + Math.min(row.height, row.type === "memory" ? MEMORY : row.lane) / 2,
          row.type === "memory" ? theme.muted : theme.ink);
    }
    drawAxis();
  };
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

  // -- moving about --------------------------------------------------------------------------
  const show = (a, b) => {
    const span = Math.min(Math.max(b - a, scene.shortest), horizon * 1.02);
    from = Math.min(Math.max(a, -horizon * .01), horizon * 1.01 - span);
    to = from + span;
    redraw();
  };
  const zoom = (factor, tick) => show(tick - (tick - from) * factor, tick + (to - tick) * factor);
  const pan = part => show(from + (to - from) * part, to + (to - from) * part);
  const fit = () => show(-horizon * .01, horizon * 1.01);
  const tickAt = event => {
    const place = canvas.getBoundingClientRect();
    return from + (event.clientX - place.left - LABEL) / width() * (to - from);
  };

  view.addEventListener("wheel", event => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      pan((event.deltaX || event.deltaY) / 900);
    else zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY)) / 400), tickAt(event));
  }, { passive: false });

  let drag = null;
  canvas.addEventListener("pointerdown", event => {
    drag = { x: event.clientX, y: event.clientY, from, to, top: view.scrollTop };
    canvas.setPointerCapture(event.pointerId);
    view.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("pointercancel", () => { drag = null; });

  const keys = {
    "+": () => zoom(.7, (from + to) / 2), "=": () => zoom(.7, (from + to) / 2),
    "w": () => zoom(.7, (from + to) / 2), "-": () => zoom(1 / .7, (from + to) / 2),
    "s": () => zoom(1 / .7, (from + to) / 2), "a": () => pan(-.2), "d": () => pan(.2),
    "ArrowLeft": () => pan(-.2), "ArrowRight": () => pan(.2), "0": fit, "f": fit,
    "n": () => jump(1), "N": () => jump(-1),
  };
  document.addEventListener("keydown", event => {
    if (event.target.closest?.("input, select, button")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); return; }
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  // -- tooltip -------------------------------------------------------------------------------
  const under = event => {
    const place = canvas.getBoundingClientRect();
    const y = event.clientY - place.top + view.scrollTop, tick = tickAt(event);
    if (event.clientX - place.left < LABEL || event.clientY - place.top < AXIS) return "";
    const row = rows.find(r => y >= r.y && y < r.y + r.height);
    if (!row || row.type === "title") return "";
    if (row.type === "memory") {
      const { at, bytes: level, limit } = row;
      const i = after(at, tick) - 1;
      if (i < 0) return "";
      const cap = limit == null ? "no limit" : `of ${bytes(limit)}`;
      return `${row.device}: memory\n${bytes(level[i])} ${cap}\nfrom ${seconds(at[i])}`;
    }
    const lane = row.lanes[Math.floor((y - row.y) / row.lane)];
    if (!lane) return "";
    // The bar under the pointer, or a thinner one within two pixels of it.
    const near = 2 * (to - from) / Math.max(width(), 1);
    for (let i = after(lane.start, tick + near) - 1; i >= 0 && i > after(lane.start, tick) - 4; i--)
      if (lane.end[i] >= tick - near) return row.source.describe(lane.item[i], row, lane, i);
    return "";
  };
  canvas.addEventListener("pointermove", event => {
    if (drag) {
      const moved = (event.clientX - drag.x) / width() * (drag.to - drag.from);
      show(drag.from - moved, drag.to - moved);
      view.scrollTop = drag.top - (event.clientY - drag.y);
    }
    const text = drag ? "" : under(event);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const place = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - place.width - 8)}px`;
    tip.style.top = `${event.clientY + 18 + place.height > innerHeight
      ? event.clientY - place.height - 10 : event.clientY + 18}px`;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

  // -- search --------------------------------------------------------------------------------
  const look = () => {
    const wanted = search.value.trim().toLowerCase();
    has = wanted ? name => name.toLowerCase().includes(wanted) : null;
    hits = [];
    hit = -1;
    new Set(rows.map(row => row.source)).forEach(source => source?.look(has));
    if (has)
      for (const row of rows)
        for (const lane of row.lanes || [])
          lane.item.forEach((item, i) => {
            if (row.source.matches(item)) hits.push([lane.start[i], lane.end[i], row]);
          });
    hits.sort((a, b) => a[0] - b[0]);
    found.textContent = has ? `${hits.length} found` : "";
    redraw();
  };
  const jump = step => {
    if (!hits.length) return;
    hit = (hit + step + hits.length) % hits.length;
    const [start, end, row] = hits[hit];
    found.textContent = `${hit + 1} of ${hits.length}`;
    const room = Math.max((end - start) * 12, horizon / 2000);
    show((start + end - room) / 2, (start + end + room) / 2);
    if (row.y < view.scrollTop + AXIS || row.y + row.height > view.scrollTop + view.clientHeight)
      view.scrollTop = row.y - view.clientHeight / 2;
  };
  search.addEventListener("input", look);
  search.addEventListener("keydown", event => {
    if (event.key === "Enter") jump(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { search.value = ""; look(); view.focus(); }
  });

  // -- legend, theme, first picture ------------------------------------------------------------
  const legend = document.getElementById("legend");
  const swatch = (colour, text) => {
    const entry = document.createElement("span"), box = document.createElement("i");
    box.style.background = colour;
    entry.append(box, text);
    legend.append(entry);
  };
  const relegend = () => {
    legend.replaceChildren();
    if (colourBy.value === "kind") {
      scene.kinds.forEach(kind => swatch(KINDS[kind] || KINDS.other, kind));
    } else {
      swatch(shades[0], "microbatch 0");
      if (microbatches) swatch(shades[microbatches], `microbatch ${microbatches}`);
      swatch("#999999", "once per step");
    }
  };
  const retheme = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["paper", "ink", "muted", "line", "lane", "memory", "limit"])
      theme[name] = style.getPropertyValue(`--${name}`).trim();
    redraw();
  };
  colourBy.addEventListener("change", () => { relegend(); redraw(); });
  document.getElementById("fit").addEventListener("click", fit);
  document.getElementById("in").addEventListener("click", keys["+"]);
  document.getElementById("out").addEventListener("click", keys["-"]);
  view.addEventListener("scroll", redraw);
  addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", retheme);
  relegend();
  retheme();
  stack(scene.rows);
  fit();
  draw();  // at once: a page that is printed or saved as it loads is not blank
  return stack;
};

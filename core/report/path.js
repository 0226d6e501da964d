// The critical path: a line along the bars that it consists of, and from each to the next.
const pathOf = (packed, tick_s) => {
  const { item, start, until } = columns(packed.steps);
  const waits = column(packed.waits), step = new Map();
  item.forEach((one, i) => step.set(one, i));
  return {
    item, start: start.map(tick => tick * tick_s), until: until.map(tick => tick * tick_s),
    has: one => step.has(one),
    told: one => packed.causes[waits[step.get(one)]],
  };
};
// Where the rows hold the bars of the path: of each step, from the top of all rows.
const placePath = (path, rows) => {
  const places = new Map();
  for (const row of rows)
    (row.lanes || []).forEach((lane, number) => lane.item.forEach(one => {
      if (path.has(one) && !places.has(one)) places.set(one, row.y + (number + 1) * row.lane - 1);
    }));
  return Float64Array.from(path.item, one => places.get(one) ?? NaN);  // NaN: a pause
};
const drawPath = (pen, path, heights, scrolled, axis, theme) => {
  const until = axis.at(axis.right);
  const inside = x => Math.min(axis.right, Math.max(axis.left, x));
  pen.strokeStyle = theme.path;
  pen.lineJoin = "round";
  let y = NaN;
  for (const [width, alpha] of [[1, .45], [3, 1]]) {
    pen.lineWidth = width;
    pen.globalAlpha = alpha;
    pen.beginPath();
    for (let i = Math.max(0, after(path.until, axis.at(axis.left)) - 1); i < path.item.length && path.start[i] <= until; i++) {
      const high = heights[i] - scrolled, x = inside(axis.x(path.start[i]));
      if (width === 1 && !isNaN(high) && !isNaN(y) && y !== high) { pen.moveTo(x, y); pen.lineTo(x, high); }
      if (width > 1 && !isNaN(high)) { pen.moveTo(x, high); pen.lineTo(inside(axis.x(path.until[i])), high); }
      if (!isNaN(high)) y = high;
    }
    pen.stroke();
  }
  pen.lineWidth = 1;
  pen.globalAlpha = 1;
};

// The critical path of a schedule: a line along the bars that it consists of, and from each to the next.
// A path has `start` and `until` of its steps, on(row, lane), which says whether a bar (item, index) is on it,
// and places(rows): where each step's row ends, from the top of all rows; NaN for a pause, or a row not shown.
// Rows of bars have the `path` of their schedule, or null.
const pathOf = (packed, tick_s) => {
  const { item, start, until } = columns(packed.steps);
  const waits = column(packed.waits), step = new Map();
  item.forEach((one, i) => step.set(one, i));
  return {
    start: start.map(tick => tick * tick_s), until: until.map(tick => tick * tick_s),
    on: () => one => step.has(one),
    told: one => step.has(one) ? packed.causes[waits[step.get(one)]] : null,
    places: rows => {
      const places = new Map();
      for (const row of rows)
        (row.lanes || []).forEach((lane, number) => lane.item.forEach(one => {
          if (step.has(one) && !places.has(one)) places.set(one, row.y + (number + 1) * row.lane - 1);
        }));
      return Float64Array.from(item, one => places.get(one) ?? NaN);
    },
  };
};
// One whose steps tell their row by number: bars are more than its tasks there.
const pathByRow = (packed, tick_s) => {
  const { row: rowOf, start, until } = columns(packed);
  const path = { start: start.map(tick => tick * tick_s), until: until.map(tick => tick * tick_s) };
  path.on = (row, lane) => {
    const mine = [...rowOf.keys()].filter(step => rowOf[step] === row.number);
    const ends = mine.map(step => path.until[step]);
    return (_, i) => {
      const step = mine[after(ends, lane.start[i])];
      return step !== undefined && path.start[step] < lane.end[i];
    };
  };
  path.places = rows => {
    const places = new Map(rows.filter(row => row.path === path).map(row => [row.number, row.y + row.height - 1]));
    return Float64Array.from(rowOf, number => places.get(number) ?? NaN);
  };
  return path;
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
    for (let i = Math.max(0, after(path.until, axis.at(axis.left)) - 1); i < path.start.length && path.start[i] <= until; i++) {
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

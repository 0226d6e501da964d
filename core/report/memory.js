// The memory of a device until its schedule ends, against what is usable. A device that never uses a quarter of it is drawn
// to its own peak, and says so: its course could not be seen otherwise.
const BLOCK = 64;
const memoryRow = (device, memory, tick_s, until) => {
  const at = column(memory.at).map(tick => tick * tick_s), level = column(memory.bytes);
  const tops = new Float64Array(Math.ceil(level.length / BLOCK));
  level.forEach((bytes, i) => { tops[Math.floor(i / BLOCK)] = Math.max(tops[Math.floor(i / BLOCK)], bytes); });
  const { limit, peak } = memory, small = limit != null && peak * 4 < limit;
  const part = limit ? `${(100 * peak / limit).toFixed(peak < limit ? 1 : 0)}%` : "";
  return {
    type: "memory", device, at, level, tops, until, limit, peak, full: limit == null || small ? peak : Math.max(limit, peak),
    capped: limit != null && !small, name: `${shortBytes(peak)} peak${part && `, ${part}`}`,
    told: `peak ${bytes(peak)}${part && `, ${part} of ${bytes(limit)}`}`,
  };
};
const drawMemory = (pen, row, top, axis, theme) => {
  const { at, level, tops } = row, floor = top + row.height, scale = (row.height - 4) / Math.max(row.full, 1);
  const most = (i, j) => {  // the highest of the levels i to j (exclusive)
    let found = 0;
    while (i < j)
      if (i % BLOCK === 0 && i + BLOCK <= j) { found = Math.max(found, tops[i / BLOCK]); i += BLOCK; }
      else found = Math.max(found, level[i++]);
    return found;
  };
  const until = axis.at(axis.right), first = Math.max(0, after(at, axis.at(axis.left)) - 1);
  pen.fillStyle = theme.memory;
  pen.beginPath();
  pen.moveTo(axis.left, floor);
  for (let i = first; i < at.length && at[i] < until;) {
    const left = Math.max(axis.left, axis.x(at[i]));
    // Steps that share a pixel show their highest level: a peak is never hidden.
    const next = Math.max(i + 1, after(at, axis.at(left + 1), i));
    const right = Math.min(next < at.length ? axis.x(at[next]) : axis.x(row.until), axis.right);
    const high = floor - most(i, next) * scale;
    if (i === first) pen.lineTo(left, floor);
    pen.lineTo(left, high);
    pen.lineTo(Math.max(right, left), high);
    if (next >= at.length || at[next] >= until) pen.lineTo(Math.max(right, left), floor);
    i = next;
  }
  pen.fill();
  if (!row.capped) return;
  pen.strokeStyle = theme.limit;
  pen.setLineDash([5, 4]);
  pen.beginPath();
  pen.moveTo(axis.left, floor - row.limit * scale);
  pen.lineTo(axis.right, floor - row.limit * scale);
  pen.stroke();
  pen.setLineDash([]);
};
const describeMemory = (row, instant) => {
  const i = after(row.at, instant) - 1;
  if (i < 0 || instant > row.until) return "";
  const cap = row.limit == null ? "no limit" : `of ${bytes(row.limit)}`;
  return `${row.device}: memory\n${bytes(row.level[i])} ${cap}\nfrom ${seconds(row.at[i])}; ${row.told}`;
};

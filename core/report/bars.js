// Bars of one lane, in order of start; none overlaps another.
// Bars that share a pixel are drawn as one: in the colour of the kind that takes most of it, as strong as
// the part that is taken. Sums over all bars before make that a matter of pixels, not of bars.
const barLane = (item, start, end, source) => {
  const sums = new Map();
  item.forEach((one, i) => {
    const kind = source.kind(one);
    if (!sums.has(kind)) sums.set(kind, new Float64Array(item.length + 1));
    sums.get(kind)[i + 1] = end[i] - start[i];
  });
  for (const sum of sums.values()) for (let i = 1; i < sum.length; i++) sum[i] += sum[i - 1];
  return { item, start, end, sums, source, next: null };
};
// Which bar (item, index), from each on, is the next that matches; null: all do.
const mark = (lane, matches) => {
  lane.next = matches && new Int32Array(lane.item.length + 1).fill(lane.item.length);
  if (matches)
    for (let i = lane.item.length - 1; i >= 0; i--) lane.next[i] = matches(lane.item[i], i) ? i : lane.next[i + 1];
};
// The bar at an instant, or one that is no farther off than `near`; -1: none.
const barAt = (lane, instant, near) => {
  const last = after(lane.start, instant) - 1;
  if (last >= 0 && lane.end[last] >= instant) return last;
  const apart = [last, last + 1].filter(i => i >= 0 && i < lane.start.length)
    .map(i => [Math.min(Math.abs(lane.start[i] - instant), Math.abs(lane.end[i] - instant)), i]);
  const [distance, i] = apart.sort((a, b) => a[0] - b[0])[0] || [Infinity, -1];
  return distance <= near ? i : -1;
};
const FAINT = .14;  // of bars that do not match
const NAMED = 60;  // pixels of a bar from which on it has room for its name

// `axis` has x(instant), at(pixel), left, right; `paint` has colour(item), ink(item), byKind.
const drawBars = (pen, lane, top, tall, axis, paint, text) => {
  const { item, start, end, sums, source, next } = lane;
  const gap = tall >= 14 ? 1 : 0, high = tall - 2 * gap, until = axis.at(axis.right);
  const strongest = (i, j) => {  // the kind that takes most time among bars i to j
    let most = -1, found = "";
    for (const [kind, sum] of sums) if (sum[j] - sum[i] > most) { most = sum[j] - sum[i]; found = kind; }
    return found;
  };
  const several = (i, j, x, from, to) => {  // bars i to j (exclusive), all in the pixel at x
    const hit = next ? next[i] : i, on = hit < j;
    let taken = 0;
    for (const sum of sums.values()) taken += sum[j] - sum[i];
    pen.globalAlpha = next && !on ? FAINT : Math.min(1, .45 + .55 * taken / (to - from));
    const shown = next && on ? item[hit] : item[(i + j) >> 1];
    pen.fillStyle = paint.byKind && !(next && on) ? paint.ofKind(strongest(i, j)) : paint.colour(shown);
    pen.fillRect(x, top + gap, 1, high);
  };
  const one = i => {
    const left = Math.max(axis.left, axis.x(start[i])), right = Math.min(axis.right, axis.x(end[i]));
    const wide = Math.max(1, right - left - (right - left > 3 ? .6 : 0));
    pen.globalAlpha = next && next[i] !== i ? FAINT : 1;
    pen.fillStyle = paint.colour(item[i]);
    pen.fillRect(left, top + gap, wide, high);
    if (tall < 12 || wide < 10) return;
    const whole = source.text(item[i]), words = wide < NAMED && whole.length > 4 ? source.short(item[i]) : whole;
    if (!words || wide < 5 + 7 * Math.min(words.length, 4)) return;
    pen.fillStyle = paint.ink(item[i]);
    pen.textAlign = "left";
    pen.fillText(text(words, wide - 4), left + (words.length > 4 ? 4 : 2), top + tall / 2 + .5);
  };
  for (let i = after(end, axis.at(axis.left)); i < start.length && start[i] < until;) {
    const left = axis.x(start[i]);
    if (axis.x(end[i]) - left >= 1) { one(i++); continue; }
    const pixel = Math.max(axis.left, Math.floor(left)), from = axis.at(pixel), to = axis.at(pixel + 1);
    let j = Math.max(i + 1, after(start, to, i));
    if (j - 1 > i && axis.x(end[j - 1]) - axis.x(start[j - 1]) >= 1) j--;  // a wide one is drawn for itself
    several(i, j, pixel, from, to);
    i = j;
  }
  pen.globalAlpha = 1;
};

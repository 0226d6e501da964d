// Columns of numbers, and names: unpacked as parplan.report.packing packs them, and searched.
const column = text => {
  const raw = atob(text);
  let count = 0;
  for (let i = 0; i < raw.length; i++) if (raw.charCodeAt(i) < 128) count++;
  const values = new Float64Array(count);
  let folded = 0, scale = 1, value = 0, next = 0;
  for (let i = 0; i < raw.length; i++) {
    const digit = raw.charCodeAt(i);
    folded += (digit & 127) * scale;  // no shift: those end at 32 bits
    scale *= 128;
    if (digit >= 128) continue;
    value += folded % 2 ? -(folded + 1) / 2 : folded / 2;
    values[next++] = value;
    folded = 0;
    scale = 1;
  }
  return values;
};
const columns = packed => Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, column(text)]));
const names = packed => {
  const { head, tail } = columns({ head: packed.head, tail: packed.tail });
  let before = "";
  return packed.middle.map((middle, i) =>
    before = before.slice(0, head[i]) + middle + before.slice(before.length - tail[i]));
};
const after = (sorted, value, low = 0) => {  // index of the first entry above value
  let high = sorted.length;
  while (low < high) { const mid = (low + high) >> 1; if (sorted[mid] > value) high = mid; else low = mid + 1; }
  return low;
};

// The scene of one plan: devices with their memory, and links. A task is its row, a transfer
// -1 - its row.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { tasks, transfers } = data;
  let matches = null;
  const operator = item => tasks.operator[item];
  const source = {
    kind: item => item >= 0 ? data.kinds[operator(item)] : "transfer",
    microbatch: item => (item >= 0 ? tasks : transfers).microbatch[item >= 0 ? item : -1 - item],
    name: item => item >= 0 ? data.operators[operator(item)] : data.tensors[transfers.tensor[-1 - item]],
    text: item => {
      const m = source.microbatch(item);
      return m < 0 ? source.name(item) : `${m} ${source.name(item)}`;
    },
    look: has => { matches = has && { operators: data.operators.map(has), tensors: data.tensors.map(has) }; },
    matches: item => item >= 0 ? matches.operators[operator(item)] : matches.tensors[transfers.tensor[-1 - item]],
    describe: (item, row, lane, i) => {
      const when = `${row.name}: ${span(lane.start[i], lane.end[i])}`;
      const what = runs(source.microbatch(item));
      if (item >= 0)
        return [source.name(item), `${source.kind(item)}, ${what}`,
          `mode ${data.modes[tasks.mode[item]]}`, when].join("\n");
      const t = -1 - item, names = data.devices;
      return [source.name(item), `transfer, ${what}, ${bytes(transfers.bytes[t])}`,
        `${names[transfers.source[t]].name} \u2192 ${names[transfers.target[t]].name}`,
        when, `arrives at ${seconds(transfers.arrival[t] * data.tick_s)}`].join("\n");
    },
  };
  const lanes = row => {  // bars by lane, each in order of start, so that a window is a slice
    const found = Array.from({ length: row.lanes }, () => []);
    row.lane.forEach((lane, i) => found[lane].push(i));
    return found.map(bars => ({
      item: Int32Array.from(bars, i => row.item[i]),
      start: Float64Array.from(bars, i => row.start[i] * data.tick_s),
      end: Float64Array.from(bars, i => row.end[i] * data.tick_s),
    }));
  };
  const bars = row => ({ type: "bars", name: row.name, lane: TALL, lanes: lanes(row), source });
  const rows = [{ type: "title", name: "Devices" }];
  data.devices.forEach((row, d) => {
    rows.push(bars(row));
    const memory = data.memory[d];
    if (memory)
      rows.push({
        ...memory, type: "memory", name: `peak ${bytes(memory.peak)}`, device: row.name,
        at: Float64Array.from(memory.at, tick => tick * data.tick_s),
      });
  });
  if (data.links.length) rows.push({ type: "title", name: "Links" }, ...data.links.map(bars));
  timeline({
    rows,
    horizon: Math.max(1, data.horizon) * data.tick_s,
    shortest: 4 * data.tick_s,
    kinds: [...new Set(data.kinds), ...(transfers.tensor.length ? ["transfer"] : [])],
    microbatches: tasks.microbatch.reduce((most, m) => Math.max(most, m), 0),
  });
})();

// The scene of one plan: devices with their memory, and links. A task is its row, a transfer
// -1 - its row.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { tick_s } = data, tasks = columns(data.tasks), transfers = columns(data.transfers);
  const kinds = column(data.kind), operators = names(data.operators), tensors = names(data.tensors);
  const path = data.path && pathOf(data.path, tick_s);
  let matches = null;
  const source = {
    kind: item => item >= 0 ? data.kinds[kinds[tasks.operator[item]]] : "transfer",
    microbatch: item => item >= 0 ? tasks.microbatch[item] : transfers.microbatch[-1 - item],
    name: item => item >= 0 ? operators[tasks.operator[item]] : tensors[transfers.tensor[-1 - item]],
    text: item => {
      const m = source.microbatch(item);
      return m < 0 ? source.name(item) : `${m} ${source.name(item)}`;
    },
    short: item => source.microbatch(item) < 0 ? "" : `${source.microbatch(item)}`,
    look: has => { matches = has && { operators: operators.map(has), tensors: tensors.map(has) }; },
    matches: item => item >= 0 ? matches.operators[tasks.operator[item]] : matches.tensors[transfers.tensor[-1 - item]],
    describe: (item, row, lane, i) => {
      const t = -1 - item, what = runs(source.microbatch(item)), places = data.devices;
      const about = item >= 0 ? [`${source.kind(item)}, ${what}`, `mode ${data.modes[tasks.mode[item]]}`]
        : [`transfer, ${what}, ${bytes(transfers.bytes[t])}`, `${places[transfers.source[t]].name} \u2192 ${places[transfers.target[t]].name}`];
      const waits = path?.told(item), critical = waits ? [`on the critical path; waits for ${waits}`] : [];
      const arrival = item >= 0 ? [] : [`arrives at ${seconds(transfers.arrival[t] * tick_s)}`];
      return [source.name(item), ...about, `${row.name}: ${span(lane.start[i], lane.end[i])}`, ...arrival, ...critical].join("\n");
    },
  };
  const lane = packed => {
    const { item, wait, length } = columns(packed), start = new Float64Array(item.length), end = new Float64Array(item.length);
    let at = 0;
    for (let i = 0; i < item.length; i++) {
      start[i] = (at += wait[i]) * tick_s;
      end[i] = (at += length[i]) * tick_s;
    }
    return barLane(item, start, end, source);
  };
  const bars = row => ({ type: "bars", name: row.name, lane: TALL, lanes: row.lanes.map(lane), source, path });
  const horizon = Math.max(1, data.horizon) * tick_s, rows = [{ type: "title", name: "Devices" }];
  data.devices.forEach((row, d) => {
    rows.push(bars(row));
    if (data.memory[d]) rows.push(memoryRow(row.name, data.memory[d], tick_s, horizon));
  });
  if (data.links.length) rows.push({ type: "title", name: "Links" }, ...data.links.map(bars));
  page({
    rows,
    horizon,
    shortest: 4 * tick_s,
    colours: data.colours,
    microbatches: tasks.microbatch.reduce((most, m) => Math.max(most, m), 0),
  }, "timeline");
})();

// The scene of a comparison: its schedules one above the other on one time axis. A bar is a pass: what
// one device runs of one microbatch in one go; its item is pass * many + microbatch + 1.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const many = data.microbatches + 2;
  let matches = [];
  const source = {
    kind: item => data.kinds[data.passes[Math.floor(item / many)][0]],
    microbatch: item => item % many - 1,
    text: item => item % many ? `${item % many - 1}` : "",
    short: item => source.text(item),
    look: has => {
      const wanted = has && data.names.map(has);
      matches = has && data.passes.map(([, first, last]) => wanted[first] || wanted[last]);
    },
    matches: item => matches[Math.floor(item / many)],
    describe: (item, row, lane, i) => {
      const [, first, last, count] = data.passes[Math.floor(item / many)];
      const what = count > 1 ? `${data.names[first]} to ${data.names[last]} (${count})` : data.names[first];
      const critical = row.path?.on(row, lane)(item, i) ? ["on the critical path"] : [];
      return [row.schedule, `${source.kind(item)}, ${runs(source.microbatch(item))}`, what,
        `${row.name}: ${span(lane.start[i], lane.end[i])}`, ...critical].join("\n");
    },
  };
  const bars = (row, entry, path, number, lane, named) => ({
    type: "bars", name: row.name, schedule: entry.name, lane, named, source, path, number,
    lanes: row.lanes.map(packed => {
      const { wait, length, pass, microbatch } = columns(packed);
      const item = pass.map((number, i) => number * many + microbatch[i] + 1);
      const start = new Float64Array(item.length), end = new Float64Array(item.length);
      let at = 0;
      wait.forEach((ticks, i) => {
        start[i] = (at += ticks) * entry.tick_s;
        end[i] = (at += length[i]) * entry.tick_s;
      });
      return barLane(item, start, end, source);
    }),
  });
  // So many devices get so many pixels each: names stand at every so many of thin rows.
  const tall = count => count <= 4 ? 18 : count <= 8 ? 14 : count <= 16 ? 9 : count <= 32 ? 6 : 4;
  const lines = (rows, entry, path, first) => {
    const lane = tall(rows.length), every = Math.ceil(14 / (lane + 1));
    return rows.map((row, i) => bars(row, entry, path, first + i, lane, i % every === 0));
  };
  const blocks = data.entries.map(entry => {
    const path = entry.path && pathByRow(entry.path, entry.tick_s);
    return {
      title: { type: "title", name: entry.title, note: entry.note },
      devices: lines(entry.devices, entry, path, 0),
      memory: entry.memory.map((memory, d) => memory && memoryRow(entry.devices[d].name, memory, entry.tick_s, entry.end * entry.tick_s)),
      links: lines(entry.links, entry, path, entry.devices.length),
    };
  });
  const transfers = document.getElementById("transfers"), memory = document.getElementById("memory");
  const rows = () => blocks.flatMap(block => [
    block.title,
    ...block.devices.flatMap((row, d) => memory?.checked && block.memory[d] ? [row, block.memory[d]] : [row]),
    ...(transfers?.checked ? block.links : []),
  ]);
  const show = page({
    rows: rows(),
    horizon: data.horizon_s,
    shortest: data.shortest_s,
    colours: data.colours,
    microbatches: data.microbatches,
  }, "comparison");
  for (const choice of [transfers, memory]) choice?.addEventListener("change", () => show(rows()));
})();

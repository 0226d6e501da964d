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
      return [row.schedule, `${source.kind(item)}, ${runs(source.microbatch(item))}`, what,
        `${row.name}: ${span(lane.start[i], lane.end[i])}`].join("\n");
    },
  };
  const bars = (row, entry, lane, named) => ({
    type: "bars", name: row.name, schedule: entry.name, lane, named, source,
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
  const lines = (rows, entry) => {
    const lane = tall(rows.length), every = Math.ceil(14 / (lane + 1));
    return rows.map((row, i) => bars(row, entry, lane, i % every === 0));
  };
  const blocks = data.entries.map(entry => ({
    title: { type: "title", name: entry.title, note: entry.note },
    devices: lines(entry.devices, entry),
    links: lines(entry.links, entry),
  }));
  const transfers = document.getElementById("transfers");
  const rows = () => blocks.flatMap(({ title, devices, links }) =>
    transfers.checked ? [title, ...devices, ...links] : [title, ...devices]);
  const show = page({
    rows: rows(),
    path: null,
    horizon: data.horizon_s,
    shortest: data.shortest_s,
    colours: data.colours,
    microbatches: data.microbatches,
  }, "comparison");
  transfers.addEventListener("change", () => show(rows()));
})();

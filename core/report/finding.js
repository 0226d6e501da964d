// Search: bars whose names hold what is looked for stand out, and are gone through one by one.
const finding = line => {
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const critical = document.getElementById("critical");
  let hits = [], hit = -1;

  const bars = function* () {
    for (const row of line.rows) for (const lane of row.lanes || []) yield [row, lane];
  };
  const look = () => {
    const wanted = search.value.trim().toLowerCase();
    const has = wanted ? name => name.toLowerCase().includes(wanted) : null;
    new Set(line.rows.map(row => row.source)).forEach(source => source?.look(has));
    const only = critical?.checked;
    hits = [];
    hit = -1;
    for (const [row, lane] of bars()) {
      const { source } = row;
      mark(lane, has ? item => source.matches(item) : only ? row.path?.on(row, lane) ?? (() => false) : null);
      if (lane.next) for (let i = lane.next[0]; i < lane.item.length; i = lane.next[i + 1]) hits.push({ row, lane, i });
    }
    hits.sort((a, b) => a.lane.start[a.i] - b.lane.start[b.i]);
    found.textContent = has ? `${hits.length} found` : only ? `${line.steps} steps` : "";
    line.showPath(Boolean(only));
  };
  const jump = step => {
    if (!hits.length) return null;
    hit = (hit + step + hits.length) % hits.length;
    const { row, lane, i } = hits[hit];
    found.textContent = `${hit + 1} of ${hits.length}`;
    line.reveal(lane.start[i], lane.end[i], row);
    return hits[hit];
  };
  critical?.addEventListener("change", look);
  search.addEventListener("input", look);
  return {
    search, look, jump,
    find: words => { search.value = words; search.dispatchEvent(new Event("input")); },
    clear: () => { search.value = ""; search.dispatchEvent(new Event("input")); },
    toggle: () => { if (critical) { critical.checked = !critical.checked; look(); } },
  };
};

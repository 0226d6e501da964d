"use strict";
// Figures as people read them.
const seconds = s => {
  const a = Math.abs(s);
  if (a === 0) return "0 s";
  for (const [scale, unit] of [[1, "s"], [1e3, "ms"], [1e6, "us"]])
    if (a * scale >= 1) return `${Number((s * scale).toPrecision(6))} ${unit}`;
  return `${Number((s * 1e9).toPrecision(6))} ns`;
};
const bytes = count => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (Math.abs(count) >= 1024 && i < units.length - 1) { count /= 1024; i++; }
  return `${i ? count.toFixed(2) : count} ${units[i]}`;
};
const shortBytes = count => {
  const [figure, unit] = bytes(count).split(" ");
  return `${Number(figure) < 1000 ? Number(Number(figure).toPrecision(3)) : Math.round(figure)} ${unit}`;
};
const runs = microbatch => microbatch < 0 ? "once per step" : `microbatch ${microbatch}`;
const span = (start, end) => `${seconds(start)} to ${seconds(end)} (${seconds(end - start)})`;

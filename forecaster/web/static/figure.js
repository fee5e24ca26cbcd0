// What a series' frame looks like as columns on one axis: uPlot wants every column to have a row for every x.

// Columns of a figure. `undefined` is nothing at this x, `null` a gap that no line may cross.
export function figure(frame) {
  const rows = new Map();
  const put = (x, column, value) => {
    if (!rows.has(x)) rows.set(x, []);
    rows.get(x)[column] = value;
  };
  const place = axis(frame);
  const when = new Map(); // milliseconds by x, where they are known
  frame.time_ms.forEach((time, n) => put(place.observed(time, n), 0, frame.value[n]));
  frame.time_ms.forEach((time, n) => when.set(place.observed(time, n), time));

  for (const past of frame.past ?? []) {
    if (!(past.origin >= frame.time_ms[0])) continue; // from before what is kept of the series
    const middle = past.levels.indexOf("0.5");
    past.step.forEach((step, n) => {
      const x = place.ahead(past.origin, step);
      if (x > place.newest) return; // it is beside what happened, not ahead of it
      [past.bands[0], past.bands.at(-1), past.bands[middle]].forEach((band, column) => put(x, column + 1, band[n]));
    });
    if (past.step.length === 1) continue; // fans of one step make one line
    for (const column of [1, 2, 3]) put(place.ahead(past.origin, 0.5), column, null);
  }

  const fan = frame.fan?.bands ? frame.fan : null;
  if (fan) {
    fan.time_ms?.forEach((time, n) => when.set(place.ahead(fan.origin, fan.step[n]), time));
    const known = fan.aggregate ? undefined : frame.value[frame.time_ms.lastIndexOf(fan.origin)];
    fan.bands.forEach((band, level) => {
      if (known !== undefined && known !== null) put(place.ahead(fan.origin, 0), level + 4, known);
      fan.step.forEach((step, n) => put(place.ahead(fan.origin, step), level + 4, band[n]));
    });
  }

  const x = [...rows.keys()].sort((a, b) => a - b);
  const columns = Array.from({ length: 4 + (fan?.bands.length ?? 0) }, (_, column) => x.map((one) => rows.get(one)[column]));
  return { data: [x, ...columns], levels: fan?.levels ?? [], timed: place.timed, when, spread: spread(frame), newest: place.newest };
}

// How far apart the numbers of a series lie that are shown.
export function spread(frame) {
  const known = [...frame.value, ...(frame.fan?.bands ?? []).flat()].filter((one) => one !== null);
  return known.reduce((most, one) => Math.max(most, one), -Infinity) - known.reduce((least, one) => Math.min(least, one), Infinity);
}

// Where things lie: at their time in seconds, or where steps are uneven at their number, the newest observation at 0.
function axis(frame) {
  const times = frame.time_ms;
  if (frame.step_ms) {
    const ahead = (origin, step) => (origin + step * frame.step_ms) / 1000;
    return { timed: true, newest: (times.at(-1) ?? frame.origin) / 1000, observed: (time) => time / 1000, ahead };
  }
  const number = (time) => times.findLastIndex((one) => one <= time) - times.length + 1;
  const ahead = (origin, step) => number(origin) + step;
  return { timed: !frame.kind, newest: frame.kind ? 0 : (times.at(-1) ?? 0) / 1000,
    observed: (time, n) => (frame.kind ? n - times.length + 1 : time / 1000), ahead };
}

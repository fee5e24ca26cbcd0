// The chart: observations, the fan ahead of them, and fans of the past beside what then happened.
/* global uPlot */
import { figure } from "./figure.js";
import { clock, day, number, share, time } from "./words.js";

const WHOLE = [1, 2, 5].flatMap((one) => [1, 10, 100, 1_000].map((ten) => one * ten)).sort((a, b) => a - b);
const NICE = Array.from({ length: 80 }, (_, n) => [1, 2, 2.5, 5].map((one) => Number(`${one}e${n - 42}`))).flat(); // all that float32 holds
const FIRST_FAN = 5; // column of the data: x, observed, three of past fans, then one for each quantile

export class Chart {
  constructor(root, readout) {
    Object.assign(this, { root, readout, plot: null, shown: null, key: "" });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(root);
    root.addEventListener("keydown", (event) => this.move(event));
    root.addEventListener("blur", () => this.readout.setAttribute("aria-live", "off"));
  }

  draw(frame) {
    const shown = figure(frame);
    this.shown = shown;
    const key = `${shown.levels} ${shown.timed}`;
    if (this.plot && key === this.key) {
      this.plot.setData(shown.data);
    } else {
      this.clear();
      this.key = key;
      this.plot = new uPlot({ ...this.size(), ...options(shown, () => this.shown.when), hooks: this.hooks() }, shown.data, this.root);
    }
    this.read(this.plot.cursor.idx);
  }

  clear() {
    this.plot?.destroy();
    Object.assign(this, { plot: null, key: "" });
    this.readout.textContent = "";
  }

  repaint() {
    colours.clear();
    this.plot?.redraw(false);
  }

  size() {
    return { width: this.root.clientWidth, height: this.root.clientHeight };
  }

  hooks() {
    return { setCursor: [(plot) => this.read(plot.cursor.idx)], draw: [(plot) => line(plot, this.shown.newest)] };
  }

  // Arrow keys walk along the chart, and what is read is said aloud.
  move(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !this.plot) return;
    event.preventDefault();
    this.readout.setAttribute("aria-live", "polite");
    const x = this.plot.data[0];
    const from = this.plot.cursor.idx ?? x.findLastIndex((one) => one <= this.shown.newest);
    const to = this.filled(Math.min(x.length - 1, Math.max(0, from + by)), Math.sign(by));
    this.plot.setCursor({ left: this.plot.valToPos(x[to], "x"), top: this.plot.bbox.height / 2 / devicePixelRatio });
  }

  // The nearest place from `at` on, towards `by`, that has numbers: between fans there are some without.
  filled(at, by) {
    const { data } = this.shown;
    for (let place = at; place >= 0 && place < data[0].length; place += by) {
      if (data.slice(1).some((column) => typeof column[place] === "number")) return place;
    }
    return at;
  }

  // The numbers under the cursor; without one, those of the newest observation.
  read(index) {
    const { data, levels, timed, when, newest } = this.shown;
    const text = (value) => number(value, this.shown.spread);
    const at = this.filled(index ?? data[0].findLastIndex((one) => one <= newest), -1);
    if (at < 0) return;
    const row = data.map((column) => column[at]);
    const known = timed ? 1000 * row[0] : when.get(row[0]);
    const words = [known === undefined ? `step ${row[0] > 0 ? "+" : ""}${row[0]}` : time(known)];
    if (typeof row[1] === "number") words.push(`observed ${text(row[1])}`);
    if (typeof row[4] === "number") words.push(`was forecast ${text(row[4])} (${text(row[2])} to ${text(row[3])})`);
    const fan = row.slice(FIRST_FAN);
    if (row[0] > newest && typeof fan[0] === "number") {
      words.push(`forecast ${text(fan[levels.indexOf("0.5")])}`, `${share(levels)}: ${text(fan[0])} to ${text(fan.at(-1))}`);
    }
    this.readout.textContent = words.join("  ·  ");
  }
}

function options({ levels, timed }, when) {
  const fans = levels.map((level, n) => ({
    stroke: () => colour(level === "0.5" ? "--fan" : "--none"), width: 2, points: { show: false }, dash: [6, 4], n,
  }));
  const past = ["--none", "--none", "--past"].map((name) => ({
    stroke: () => colour(name), width: 1.25, points: { show: false },
  }));
  const nested = Array.from({ length: levels.length >> 1 }, (_, n) => ({
    series: [FIRST_FAN + levels.length - 1 - n, FIRST_FAN + n], fill: () => colour("--fan-band"),
  }));
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false } };
  const font = "12px system-ui, sans-serif";
  return {
    series: [{}, { stroke: () => colour("--ink"), width: 1.75, points: { show: true, size: 5, filter: alone } }, ...past, ...fans],
    bands: [{ series: [3, 2], fill: () => colour("--past-band") }, ...nested],
    scales: { x: { time: timed }, y: { range: around } },
    axes: [{ ...axis, font, space: 70, ...(timed ? { values: times } : { incrs: WHOLE, values: (plot, splits) => steps(splits, when()) }) }, { ...axis, font, size: room, incrs: NICE, values: (_, splits) => splits.map((one) => number(one, splits[1] - splits[0])) }],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false, points: { size: 7 } },
    tzDate: (seconds) => uPlot.tzDate(new Date(1000 * seconds), "Etc/UTC"),
    padding: [12, 20, 0, 0],
  };
}

// Some room above and below, of a constant too.
function around(plot, least, most) {
  const room = Math.abs(most) / 10 || 1;
  return least === most ? [least - room, most + room] : uPlot.rangeNum(least, most, 0.1, true);
}

// Days and clock times as everybody reads them; the day stands below midnight, and below the first.
function times(plot, splits, axis, space, seconds) {
  return splits.map((at, n) => {
    if (seconds >= 86_400) return day(1000 * at, seconds);
    const text = clock(1000 * at, seconds < 60);
    return n === 0 || at % 86_400 === 0 ? `${text}\n${day(1000 * at, 0)}` : text;
  });
}

// Where steps are uneven, such as over a night: each at its number, and called by its time where that is known.
function steps(splits, when) {
  const known = splits.map((at) => when.get(at)).filter((one) => one !== undefined);
  const apart = Math.min(...known.slice(1).map((one, n) => one - known[n])) / 1000;
  let told = "";
  return splits.map((at) => {
    const time = when.get(at);
    if (time === undefined) return at > 0 ? `+${at}` : "";
    const date = day(time, known.length > 1 ? apart : 0);
    const text = apart >= 86_400 && known.length > 1 ? "" : clock(time, apart < 60);
    const below = date === told ? "" : date;
    told = date;
    return [text, below].filter((one) => one !== "").join("\n");
  });
}

// Observations between two gaps: no line reaches them.
function alone(plot, column) {
  const known = [...plot.data[column].entries()].filter(([, value]) => value !== undefined);
  const there = (n) => typeof known[n]?.[1] === "number";
  return known.filter((_, n) => there(n) && !there(n - 1) && !there(n + 1)).map(([index]) => index);
}

// As much room beside the chart as the longest of its numbers takes.
function room(plot, values) {
  const longest = Math.max(2, ...(values ?? []).map((one) => (one ?? "").length));
  return 14 + 7 * longest;
}

// A line at the newest observation: left of it what happened, right of it what is forecast.
function line(plot, newest) {
  const x = Math.round(plot.valToPos(newest, "x", true));
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour("--now");
  ctx.setLineDash([3, 3]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

// A canvas knows no custom property: what one comes to in the colours of now.
const colours = new Map();
const probe = document.createElement("span");
probe.hidden = true;
probe.style.forcedColorAdjust = "none";
document.documentElement.append(probe);

function colour(name) {
  if (!colours.has(name)) {
    probe.style.color = `var(${name})`;
    colours.set(name, getComputedStyle(probe).color);
  }
  return colours.get(name);
}

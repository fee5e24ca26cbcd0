// The live page: frames come in, text and charts go out. Names and everything else from outside are text, never markup.
import { Chart } from "./chart.js";
import { Search } from "./search.js";
import { count, duration, latency, number, rate, share, time } from "./words.js";

const SILENT_MS = 5000; // frames come every second
const AGAIN_MS = 5000;
const LISTED_STEPS = 48;

const $ = (id) => document.getElementById(id);
const chart = new Chart($("chart"), $("readout"));
let name = new URLSearchParams(location.search).get("name");
let source = null;
let latest = null; // frame of the series
let heard = performance.now();

function connect() {
  source?.close();
  const mine = new EventSource(name === null ? "/events" : `/events?name=${encodeURIComponent(name)}`);
  source = mine;
  heard = performance.now();
  mine.addEventListener("fleet", (event) => showFleet(JSON.parse(event.data)));
  mine.addEventListener("series", (event) => showSeries(JSON.parse(event.data)));
  mine.addEventListener("error", () => {
    tell("lost", "Reconnecting…");
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === source && connect(), AGAIN_MS); // refused
  });
}

function choose(chosen, remember = true) {
  if (remember) history.pushState(null, "", `/series?name=${encodeURIComponent(chosen)}`);
  name = chosen;
  waitFor(chosen);
  connect();
}

function waitFor(chosen) {
  chart.clear();
  latest = null;
  $("chart").hidden = false;
  $("name").textContent = chosen ?? "…";
  $("facts").textContent = "";
  document.title = chosen === null ? "forecaster" : `${chosen} · forecaster`;
  for (const id of ["legend", "chances", "numbers"]) $(id).hidden = true;
  nothing(chosen === null ? "Waiting for the first series…" : "Loading…");
}

function nothing(text) {
  $("empty").textContent = text;
  $("empty").hidden = text === "";
}

function tell(state, text) {
  $("status").dataset.state = state;
  if ($("status").textContent !== text) $("status").textContent = text;
}

function showFleet(fleet) {
  heard = performance.now();
  if (fleet.connected) tell("live", "Live");
  else tell("lost", "No broker");
  $("model").textContent = fleet.model ?? "";
  const figures = {
    series: count(fleet.series), ticks: rate(fleet.ticks_per_second), lag: count(fleet.lag_records),
    p50: latency(fleet.p50_s), p99: latency(fleet.p99_s), stale: count(fleet.stale_count),
  };
  for (const [key, text] of Object.entries(figures)) document.querySelector(`[data-figure=${key}]`).textContent = text;
  list("worst", fleet.worst, ({ ratio }) => number(Number(ratio.toFixed(2))), ({ ratio }) => (ratio > 1 ? "bad" : "good"));
  list("stale", fleet.stale, ({ silent_ms }) => duration(silent_ms), () => "bad");
  $("foot").textContent = foot(fleet);
  if (name === null && fleet.first !== null) choose(fleet.first, false);
  else if (name === null) nothing("No series yet: the first tick or forecast in Kafka brings one.");
}

function foot(fleet) {
  const parts = [`${count(fleet.names)} series seen, ${count(fleet.drawn)} of them drawn, ${count(fleet.scored)} scored`];
  parts.push(`${count(fleet.viewers)} ${fleet.viewers === 1 ? "viewer" : "viewers"}`);
  if (fleet.dropped) parts.push(`${count(fleet.dropped)} frames lost by slow viewers`);
  const { skipped, unreadable, unnamed } = fleet.counts;
  if (skipped) parts.push(`${count(skipped)} records skipped: the stream is faster than the page reads`);
  if (unreadable) parts.push(`${count(unreadable)} records unreadable`);
  if (unnamed) parts.push(`${count(unnamed)} records of more series than are listed`);
  return parts.join(" · ");
}

// Buttons stay where they are while their text changes: the focus must not be lost every second.
function list(id, items, text, look) {
  const root = $(id);
  $(`${id}-empty`).hidden = items.length > 0;
  while (root.children.length > items.length) root.lastChild.remove();
  while (root.children.length < items.length) root.append(item());
  items.forEach((one, n) => {
    const [label, value] = root.children[n].firstChild.children;
    root.children[n].firstChild.dataset.name = one.name;
    if (label.textContent !== one.name) Object.assign(label, { textContent: one.name, title: one.name });
    Object.assign(value, { textContent: text(one), className: look(one) });
  });
}

function item() {
  const row = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(document.createElement("span"), document.createElement("b"));
  button.addEventListener("click", () => choose(button.dataset.name));
  row.append(button);
  return row;
}

function showSeries(frame) {
  if (frame.name !== name) return;
  latest = frame;
  const drawn = "fan" in frame ? frame.fan !== null : frame.time_ms.length > 1;
  const told = "chances" in frame;
  $("facts").textContent = facts(frame);
  $("legend").hidden = !drawn || told;
  $("chances").hidden = !told;
  if (drawn && !told) {
    nothing("");
    chart.draw(frame);
  } else {
    chart.clear();
    nothing(told ? "" : missing(frame));
  }
  $("chart").hidden = told;
  if (told) showChances(frame.chances);
  $("chart").setAttribute("aria-label", `Chart of ${frame.name}: arrow keys read it`);
  $("fan-key").textContent = frame.fan ? `forecast, with the ${share(frame.fan.levels)} interval` : "forecast";
  showNumbers(frame);
}

function missing(frame) {
  if ("fan" in frame) return "This forecast is not as it should be, and is not drawn.";
  if (frame.kind) return `Answers of the kind “${frame.kind}” are not drawn.`;
  return frame.time_ms.length ? "One observation so far, and no forecast." : "Seen, but not drawn yet.";
}

function facts(frame) {
  const last = frame.value.findLast((one) => one !== null);
  const parts = [];
  if (last !== undefined) parts.push(`${number(last)} now`);
  if (frame.origin !== undefined) parts.push(`forecast at ${time(frame.origin)}`);
  if (frame.step_ms && frame.fan) parts.push(`${duration(frame.horizon * frame.step_ms)} ahead`);
  if (frame.fan?.aggregate) parts.push(`the ${frame.fan.aggregate} of all steps`);
  if (frame.maturity === "warming") parts.push("still warming up");
  if (typeof frame.ratio === "number") parts.push(`error ${number(Number(frame.ratio.toFixed(2)))} × that of the last value`);
  return parts.join(" · ");
}

function showChances(chances) {
  const rows = Object.entries(chances).sort(([, a], [, b]) => b - a).slice(0, 10).map(([label, chance]) => {
    const row = document.createElement("li");
    const bar = document.createElement("i");
    bar.style.width = `${100 * chance}%`;
    row.append(Object.assign(document.createElement("span"), { textContent: label, title: label }));
    row.append(bar, Object.assign(document.createElement("b"), { textContent: `${number(Number((100 * chance).toFixed(1)))} %` }));
    return row;
  });
  $("chances").replaceChildren(...rows);
}

function showNumbers(frame) {
  const fan = frame.fan;
  $("numbers").hidden = !fan;
  if (!fan || !$("numbers").open) return;
  const row = (kind, cells) => {
    const made = document.createElement("tr");
    made.append(...cells.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
    return made;
  };
  const when = (step) => (frame.step_ms ? time(fan.origin + step * frame.step_ms) : `step +${step}`);
  $("numbers").querySelector("thead").replaceChildren(row("th", ["when", ...fan.levels]));
  const steps = fan.step.slice(0, LISTED_STEPS);
  const lines = steps.map((step, n) => row("td", [when(step), ...fan.bands.map((band) => number(band[n]))]));
  $("numbers").querySelector("tbody").replaceChildren(...lines);
}

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
function nextTheme() {
  const names = Object.keys(THEMES);
  const chosen = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("theme", chosen);
  } catch {
    // no storage here: it lasts as long as the page
  }
  paintTheme();
}

function paintTheme() {
  const chosen = document.documentElement.dataset.theme ?? "auto";
  $("theme").textContent = THEMES[chosen];
  $("theme").setAttribute("aria-label", `Colours: ${chosen === "auto" ? "automatic" : chosen}`);
  chart.repaint();
}

$("theme").addEventListener("click", nextTheme);
$("numbers").addEventListener("toggle", () => latest && showNumbers(latest));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintTheme);
addEventListener("popstate", () => {
  name = new URLSearchParams(location.search).get("name");
  waitFor(name);
  connect();
});
setInterval(() => {
  if (performance.now() - heard > SILENT_MS) tell("lost", "Reconnecting…");
}, 1000);
new Search($("search"), $("found"), $("count"), choose);
paintTheme();
waitFor(name);
connect();

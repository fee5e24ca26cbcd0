// The live page: frames come in, text and charts go out. Names and everything else from outside are text, never markup.
import { Chart } from "./chart.js";
import { spread } from "./figure.js";
import { Fleet } from "./fleet.js";
import { Search } from "./search.js";
import { count, duration, number, percent, share, time } from "./words.js";

const SILENT_MS = 5000; // frames come every second
const AGAIN_MS = 5000;
const DEAD_MS = 15_000; // a connection so silent is given up: after a sleep it may be dead without knowing
const LISTED_STEPS = 48;

const $ = (id) => document.getElementById(id);
const chart = new Chart($("chart"), $("readout"));
const fleet = new Fleet(choose);
let [name, channel] = asked(); // channel: null is the first one, or the only one
let source = null;
let latest = null; // frame of the series
let heard = performance.now();

function asked() {
  const query = new URLSearchParams(location.search);
  return [query.get("name"), query.get("channel")];
}

function query() {
  const parts = Object.entries({ name, channel }).filter(([, value]) => value !== null);
  return parts.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
}

function connect() {
  source?.close();
  const mine = new EventSource(name === null ? "events" : `events?${query()}`);
  source = mine;
  heard = performance.now();
  mine.addEventListener("channels", (event) => showChannels(JSON.parse(event.data)));
  mine.addEventListener("fleet", (event) => showFleet(JSON.parse(event.data)));
  mine.addEventListener("series", (event) => showSeries(JSON.parse(event.data)));
  mine.addEventListener("error", () => {
    tell("lost", "Reconnecting…");
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === source && connect(), AGAIN_MS); // refused
  });
}

function choose(chosen, itsChannel = channel, remember = true) {
  [name, channel] = [chosen, itsChannel];
  if (remember) history.pushState(null, "", `series?${query()}`);
  waitFor(chosen);
  connect();
}

function waitFor(chosen) {
  chart.clear();
  latest = null;
  $("chart").hidden = false;
  Object.assign($("name"), { textContent: chosen ?? "…", title: chosen ?? "" });
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

function showFleet(frame) {
  heard = performance.now();
  if (frame.connected) tell("live", "Live");
  else tell("lost", "No broker");
  fleet.show(frame);
  if (name === null && frame.first !== null) choose(frame.first, null, false);
  else if (name === null) nothing("No series yet: the first tick or forecast in Kafka brings one.");
}

function showChannels({ names }) {
  const options = names.map((one) => Object.assign(document.createElement("option"), { value: one, textContent: one }));
  $("channel").replaceChildren(...options);
}

function showSeries(frame) {
  if (frame.name !== name) return;
  latest = frame;
  $("choice").hidden = frame.channel === null;
  $("channel").value = frame.channel;
  const drawn = "fan" in frame ? frame.fan !== null && knows(frame) : frame.time_ms.length > 1;
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
  $("fan-key").textContent = frame.fan?.bands ? `forecast, with the ${share(frame.fan.levels)} interval` : "forecast";
  showNumbers(frame);
}

// A channel that has had no value has no forecast, and nothing to draw.
function knows(frame) {
  return "bands" in frame.fan || frame.value.some((one) => one !== null);
}

function missing(frame) {
  if (frame.fan) return "This channel has had no value yet.";
  if ("fan" in frame) return "This forecast is not as it should be, and is not drawn.";
  if (frame.kind) return `Answers of the kind “${frame.kind}” are not drawn.`;
  if (frame.seen_ms === null) return "Nothing has been seen of this series since the page was started.";
  return frame.time_ms.length ? "One observation so far, and no forecast." : "Seen, but not drawn yet.";
}

function facts(frame) {
  const last = frame.value.findLast((one) => one !== null);
  const parts = [];
  if (last !== undefined) parts.push(`${number(last, spread(frame))} now`);
  if (frame.origin !== undefined) parts.push(`forecast at ${time(frame.origin)}`);
  if (frame.fan?.bands) parts.push(frame.step_ms ? `${duration(frame.horizon * frame.step_ms)} ahead` : `${count(frame.horizon)} steps ahead`);
  if (frame.fan?.aggregate) parts.push(`the ${frame.fan.aggregate} of all steps`);
  if (frame.maturity === "warming") parts.push("still warming up");
  if (typeof frame.ratio === "number") parts.push(`error ${number(Number(frame.ratio.toFixed(2)))} × that of the last value, over ${count(frame.scored)} ${frame.scored === 1 ? "forecast" : "forecasts"}`);
  return parts.join(" · ");
}

function showChances(chances) {
  const rows = Object.entries(chances).sort(([, a], [, b]) => b - a).slice(0, 10).map(([label, chance]) => {
    const row = document.createElement("li");
    const bar = document.createElement("i");
    bar.style.width = `${100 * chance}%`;
    row.append(Object.assign(document.createElement("span"), { textContent: label, title: label }));
    row.append(bar, Object.assign(document.createElement("b"), { textContent: percent(chance) }));
    return row;
  });
  $("chances").replaceChildren(...rows);
}

function showNumbers(frame) {
  const fan = frame.fan;
  $("numbers").hidden = !fan?.bands;
  if (!fan?.bands || !$("numbers").open) return;
  const row = (kind, cells) => {
    const made = document.createElement("tr");
    made.append(...cells.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
    return made;
  };
  const when = (step, n) => (fan.time_ms ? time(fan.time_ms[n]) : `step +${step}`);
  $("numbers").querySelector("thead").replaceChildren(row("th", ["when", ...fan.levels]));
  const steps = fan.step.slice(0, LISTED_STEPS);
  const apart = spread(frame);
  const lines = steps.map((step, n) => row("td", [when(step, n), ...fan.bands.map((band) => number(band[n], apart))]));
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
for (const media of ["(prefers-color-scheme: dark)", "print"]) matchMedia(media).addEventListener("change", paintTheme);
addEventListener("popstate", () => {
  [name, channel] = asked();
  waitFor(name);
  connect();
});
setInterval(() => {
  const silent_ms = document.hidden ? 0 : performance.now() - heard;
  if (silent_ms > SILENT_MS) tell("lost", "Reconnecting…");
  if (silent_ms > DEAD_MS) connect();
}, 1000);
// A browser has six connections to one server: tabs that nobody sees leave them to the others.
document.addEventListener("visibilitychange", () => (document.hidden ? source.close() : connect()));
$("channel").addEventListener("change", () => choose(name, $("channel").value));
new Search($("search"), $("found"), $("count"), (chosen) => choose(chosen));
paintTheme();
waitFor(name);
connect();

// The fleet at a glance: its figures, the worst and the stale series, and what the page does not show.
import { count, duration, latency, number, rate } from "./words.js";

const SAMPLED_MS = 60_000; // after records were skipped this is said

const $ = (id) => document.getElementById(id);

export class Fleet {
  constructor(choose) {
    Object.assign(this, { choose, skipped: Infinity, skippedAt: -Infinity });
  }

  show(fleet) {
    $("model").textContent = fleet.model ?? "";
    const figures = {
      series: count(fleet.series), ticks: rate(fleet.ticks_per_second), lag: count(fleet.lag_records),
      p50: latency(fleet.p50_s), p99: latency(fleet.p99_s), stale: count(fleet.stale_count),
    };
    for (const [key, text] of Object.entries(figures)) document.querySelector(`[data-figure=${key}]`).textContent = text;
    this.list("worst", fleet.worst, ({ ratio }) => number(Number(ratio.toFixed(2))), ({ ratio }) => (ratio > 1 ? "bad" : "good"));
    this.list("stale", fleet.stale, ({ silent_ms }) => duration(silent_ms), () => "bad");
    $("foot").textContent = foot(fleet);
    this.sampled(fleet.counts.skipped ?? 0);
  }

  sampled(skipped) {
    if (skipped > this.skipped) this.skippedAt = performance.now();
    this.skipped = skipped;
    $("notice").hidden = performance.now() - this.skippedAt > SAMPLED_MS;
  }

  // Buttons stay where they are while their text changes: the focus must not be lost every second.
  list(id, items, text, look) {
    const root = $(id);
    $(`${id}-empty`).hidden = items.length > 0;
    while (root.children.length > items.length) root.lastChild.remove();
    while (root.children.length < items.length) root.append(this.item());
    items.forEach((one, n) => {
      const [label, value] = root.children[n].firstChild.children;
      const told = one.channel ? `${one.name} · ${one.channel}` : one.name;
      root.children[n].firstChild.chosen = [one.name, one.channel];
      if (label.textContent !== told) Object.assign(label, { textContent: told, title: told });
      Object.assign(value, { textContent: text(one), className: look(one) });
    });
  }

  item() {
    const row = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(document.createElement("span"), document.createElement("b"));
    button.addEventListener("click", () => this.choose(...button.chosen));
    row.append(button);
    return row;
  }
}

function foot(fleet) {
  const parts = [`${count(fleet.names)} series seen, ${count(fleet.drawn)} of them drawn, ${count(fleet.scored)} scored`];
  parts.push(`${count(fleet.viewers)} ${fleet.viewers === 1 ? "viewer" : "viewers"}`);
  if (fleet.dropped) parts.push(`${count(fleet.dropped)} frames lost by slow viewers`);
  const { skipped, unreadable, unnamed } = fleet.counts;
  if (skipped) parts.push(`${count(skipped)} records skipped`);
  if (unreadable) parts.push(`${count(unreadable)} records unreadable`);
  if (unnamed) parts.push(`${count(unnamed)} records of more series than are listed`);
  return parts.join(" · ");
}

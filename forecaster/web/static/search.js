// A search field with a list: a combobox as the ARIA practices describe it.
import { count } from "./words.js";

const PAUSE_MS = 120;

export class Search {
  constructor(input, list, told, choose) {
    Object.assign(this, { input, list, told, choose, active: -1, timer: 0, asked: 0 });
    input.addEventListener("input", () => this.later());
    input.addEventListener("focus", () => this.later());
    input.addEventListener("blur", () => this.close());
    input.addEventListener("keydown", (event) => this.key(event));
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), PAUSE_MS);
  }

  async ask() {
    const number = ++this.asked;
    const answer = await fetch(`search?q=${encodeURIComponent(this.input.value)}`).catch(() => null);
    if (number !== this.asked || document.activeElement !== this.input) return; // overtaken
    if (!answer?.ok) return this.show([], "The search does not answer.");
    const { names, total } = await answer.json();
    this.show(names, total > names.length ? `${count(names.length)} of ${count(total)} series` : `${count(total)} series`);
  }

  show(names, note) {
    const options = names.map((name, n) => {
      const option = Object.assign(document.createElement("li"), { id: `found-${n}`, textContent: name, title: name });
      option.setAttribute("role", "option");
      option.addEventListener("mousedown", (event) => event.preventDefault()); // or the field would lose the focus first
      option.addEventListener("click", () => this.take(name));
      return option;
    });
    const last = Object.assign(document.createElement("li"), { className: "note", textContent: note });
    last.setAttribute("role", "presentation");
    this.list.replaceChildren(...options, last);
    this.told.textContent = note;
    this.names = names;
    this.mark(names.length ? 0 : -1);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
  }

  mark(active) {
    this.active = active;
    [...this.list.querySelectorAll("[role=option]")].forEach((option, n) => {
      option.setAttribute("aria-selected", String(n === active));
      if (n === active) option.scrollIntoView({ block: "nearest" });
    });
    if (active < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `found-${active}`);
  }

  key(event) {
    const open = !this.list.hidden;
    const most = (this.names?.length ?? 0) - 1;
    const actions = {
      ArrowDown: () => (open ? this.mark(Math.min(most, this.active + 1)) : this.later()),
      ArrowUp: () => open && this.mark(Math.max(0, this.active - 1)),
      Enter: () => open && this.active >= 0 && this.take(this.names[this.active]),
      Escape: () => this.close(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  take(name) {
    this.input.value = "";
    this.close();
    this.choose(name);
  }

  close() {
    clearTimeout(this.timer);
    this.asked++;
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.mark(-1);
  }
}

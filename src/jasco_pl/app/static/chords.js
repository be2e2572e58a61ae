// The chord line: read by the server while it is typed, drawn as a lane, with what is wrong marked under it.
import { call } from "/static/api.js";

const PRESETS = [
  ["Pop: I V vi IV", "C | G | Am | F"],
  ["Ballad: I vi IV V", "C | Am | F | G"],
  ["Minor pop: vi IV I V", "Am | F | C | G"],
  ["Jazz: ii V I", "Dm7 | G7 | Cmaj7 | A7"],
  ["Rhythm changes", "Bb Gm7 | Cm7 F7 | Dm7 G7 | Cm7 F7"],
  ["Blues, 12 bars", "A7 | D7 | A7 | A7 | D7 | D7 | A7 | A7 | E7 | D7 | A7 | E7"],
  ["Canon", "D A | Bm F#m | G D | G A"],
  ["Andalusian", "Am | G | F | E7"],
  ["Bossa", "Cmaj7 | Dm7 G7 | Em7 A7 | Dm7 G7"],
  ["Funk vamp", "Em7 | A7"],
  ["Waltz", "C | G7 | G7 | C"],
];

export class ChordLine {
  // context(): {bpm, meter, key, seconds}
  constructor(context, changed) {
    this.context = context;
    this.changed = changed;
    this.line = $("chords");
    this.said = $("chords-said");
    this.lane = $("chords-lane");
    this.wait = 0;
    this.turn = 0;
    $("preset").append(...PRESETS.map(([name, line]) => element("option", { value: line }, `${name}  (${line.length > 34 ? line.slice(0, 32) + "…" : line})`)));
    $("preset").addEventListener("change", () => {
      if ($("preset").value) this.set($("preset").value);
      $("preset").value = "";
    });
    this.line.addEventListener("input", () => this.later());
    $("key").addEventListener("input", () => this.later());
    $("down").addEventListener("click", () => this.transpose(-1));
    $("up").addEventListener("click", () => this.transpose(1));
    addEventListener("resize", () => this.draw());
  }

  set(text) {
    this.line.value = text;
    this.read();
  }

  later() {
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.read(), 180);
    this.changed();
  }

  async read() {
    clearTimeout(this.wait);
    const turn = ++this.turn, text = this.line.value;
    this.changed();
    let told;
    try {
      told = await call("/api/chords", { method: "POST", json: { text, ...this.context() } });
    } catch (error) {
      told = { error: { message: error.message, start: null, end: null, near: [] } };
    }
    if (turn !== this.turn) return; // something newer has been typed
    this.line.setAttribute("aria-invalid", told.error ? "true" : "false");
    if (told.error) return this.#wrong(told.error, text);
    this.shown = told.lane;
    this.said.replaceChildren(...told.notes.map((note) => element("div", {}, note)));
    this.draw();
  }

  draw() {
    if (!this.shown) return this.lane.replaceChildren();
    drawLanes(this.lane, { name: "chords", lanes: { chords: this.shown }, given: ["chords"], seconds: this.context().seconds });
  }

  #wrong({ message, start, end, near }, text) {
    this.said.replaceChildren();
    if (start !== null) {
      const from = text.lastIndexOf("\n", start - 1) + 1, to = text.indexOf("\n", end) < 0 ? text.length : text.indexOf("\n", end);
      this.said.append(element("span", { class: "spot" }, text.slice(from, start), element("mark", {}, text.slice(start, end)), text.slice(end, to)));
    }
    this.said.append(element("span", { class: "error" }, message + " "));
    for (const other of start === null ? [] : near) {
      const take = () => { this.set(text.slice(0, start) + other + text.slice(end)); this.line.focus(); };
      this.said.append(element("button", { type: "button", onclick: take, "aria-label": `Write ${other} instead` }, other));
    }
  }

  async transpose(semitones) {
    if (!this.line.value.trim()) return;
    const { key } = this.context();
    try {
      const moved = await call("/api/chords/transpose", { method: "POST", json: { text: this.line.value, semitones, key } });
      if (moved.key && moved.key !== key) $("key").value = moved.key;
      this.set(moved.text);
    } catch (error) {
      this.said.replaceChildren(element("span", { class: "error" }, error.message));
    }
  }
}

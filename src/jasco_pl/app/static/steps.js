// A drum machine of so many steps a bar, rendered by the server with drums of its own.
import { call } from "/static/api.js";
import { isPlaying, play, stop } from "/static/player.js";

const BEATS = {
  "Rock": { kick: "x.......x.x.....", snare: "....x.......x...", hat: "x.x.x.x.x.x.x.x." },
  "Four on the floor": { kick: "x...x...x...x...", clap: "....x.......x...", "open hat": "..x...x...x...x." },
  "Hip-hop": { kick: "x..x......x.....", snare: "....X.......X...", hat: "x.x.x.x.x.x.x.xx" },
  "Bossa": { kick: "x..xx..xx..xx..x", snare: "x..x..x...x..x..", hat: "x.x.x.x.x.x.x.x." },
  "Waltz": { kick: "x...........", snare: "....x...x...", hat: "x...x...x..." },
  "Half time": { kick: "x.....x.........", snare: "........X.......", hat: "x.x.x.x.x.x.x.x." },
};

export class Steps {
  constructor(place, { voices, context, changed }) {
    Object.assign(this, { voices, context, changed, hits: {}, count: 16, perBeat: 4 });
    this.beats = element("select", { id: "beat", onchange: () => this.#preset() }, element("option", { value: "" }, "choose …"), ...Object.keys(BEATS).map((name) => element("option", {}, name)));
    this.size = element("select", { onchange: () => this.resize(Number(this.size.value)) }, ...[8, 12, 16, 24, 32].map((size) => element("option", { value: size }, `${size} steps`)));
    this.size.value = "16";
    this.swing = element("input", { type: "range", min: "0", max: "0.5", step: "0.05", value: "0", onchange: () => this.changed(), "aria-label": "Swing" });
    this.button = element("button", { type: "button", onclick: () => this.listen() }, "▶ Listen");
    this.table = element("table", { class: "steps", role: "grid", "aria-label": "Drum pattern, four steps a beat" });
    this.said = element("span", { class: "error", role: "status" });
    place.append(
      element("div", { class: "row" }, element("label", {}, "Beat ", this.beats), element("label", {}, element("span", { class: "hidden" }, "Steps"), this.size),
        element("label", {}, "Swing ", this.swing), this.button, element("button", { type: "button", onclick: () => this.set({}) }, "Clear"), this.said),
      this.table, element("p", { class: "note" }, "Click once for a hit, twice for a loud one. The pattern repeats in the tempo above, or at 120."));
    this.table.addEventListener("keydown", (event) => this.#key(event));
    this.draw();
  }

  #preset() {
    const beat = BEATS[this.beats.value];
    if (beat) this.set(beat);
    this.beats.value = "";
  }

  // hits: {voice: "x...X..."}, so many steps a beat
  set(hits, perBeat = 4) {
    this.perBeat = perBeat;
    const lengths = Object.values(hits).map((line) => line.length);
    if (lengths.length) this.#sized(Math.max(...lengths));
    this.hits = { ...hits };
    this.draw();
    this.changed();
  }

  resize(count) {
    this.#sized(count);
    this.draw();
    this.changed();
  }

  #sized(count) {
    this.count = count;
    if (![...this.size.options].some((option) => option.value === String(count))) this.size.append(element("option", { value: count }, `${count} steps`));
    this.size.value = String(count);
  }

  line(voice) {
    const written = this.hits[voice] || "";
    return Array.from({ length: this.count }, (_, at) => (written.length ? written[at % written.length] : ".")).join("");
  }

  pattern() {
    const voices = {};
    for (const voice of this.voices) if (/[xX]/.test(this.line(voice))) voices[voice] = this.line(voice);
    return Object.keys(voices).length ? { voices, swing: Number(this.swing.value), steps_per_beat: this.perBeat } : null;
  }

  draw() {
    this.table.replaceChildren(...this.voices.map((voice) => {
      const line = this.line(voice);
      const cells = [...line].map((hit, at) => {
        const on = hit === "x" || hit === "X";
        const name = `${voice}, step ${at + 1}${hit === "X" ? ", loud" : ""}`;
        const button = element("button", { type: "button", role: "switch", "aria-checked": String(on), "aria-label": name, "data-hit": hit, "data-voice": voice, "data-step": at, tabindex: voice === this.voices[0] && at === 0 ? "0" : "-1", onclick: () => this.#next(voice, at) });
        return element("td", {}, button);
      });
      return element("tr", {}, element("th", { scope: "row" }, voice), ...cells);
    }));
  }

  #next(voice, at) {
    const line = [...this.line(voice)];
    line[at] = { x: "X", X: "." }[line[at]] || "x";
    this.hits[voice] = line.join("");
    this.draw();
    this.table.querySelector(`[data-voice="${voice}"][data-step="${at}"]`).focus();
    this.changed();
  }

  #key(event) {
    const { voice, step } = event.target.dataset;
    const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!by || voice === undefined) return;
    event.preventDefault();
    const next = this.voices[this.voices.indexOf(voice) + by[0]] || voice;
    const to = this.table.querySelector(`[data-voice="${next}"][data-step="${Number(step) + by[1]}"]`) || event.target;
    this.table.querySelectorAll("button").forEach((button) => button.setAttribute("tabindex", "-1"));
    to.setAttribute("tabindex", "0");
    to.focus();
  }

  async listen() {
    if (this.who && isPlaying(this.who)) return stop(this.who);
    const pattern = this.pattern();
    this.said.textContent = pattern ? "" : "there is no hit in the pattern.";
    if (!pattern) return;
    try {
      const sound = await call("/api/pattern", { method: "POST", json: { pattern, bpm: this.context().bpm || 120 } });
      if (this.who) URL.revokeObjectURL(this.who.url);
      this.who = { url: URL.createObjectURL(sound), loop: true, moved: (_, playing) => { this.button.textContent = playing ? "■ Stop" : "▶ Listen"; } };
      play(this.who);
    } catch (error) {
      this.said.textContent = error.message;
    }
  }
}

// The form: what is asked for as the API takes it, and back; controls that the model lacks are greyed out with the reason.
import { call } from "/static/api.js";
import { ChordLine } from "/static/chords.js";
import { Roll } from "/static/roll.js";
import { Source } from "/static/source.js";
import { Steps } from "/static/steps.js";

const CONTROLS = ["chords", "melody", "drums", "paint", "mix", "drumless", "dynamics"];
const CARDS = [...CONTROLS, "vary"]; // which needs no control of the model
const NAMES = { paint: "going on from a recording", mix: "music to follow", drumless: "music without drums", dynamics: "loudness over time", vary: "varying a recording" };
const CONTROL_NAMES = { paint: "painting" };
const number = (id) => ($(id).value.trim() === "" ? undefined : Number($(id).value));

export class Form {
  constructor(model, make) {
    this.model = model;
    this.most = model.most_seconds;
    $("length").value = model.seconds;
    $("takes").max = model.limits.takes;
    $("guidance").placeholder = model.guidance_of_all ?? model.guidance;
    for (const name of CARDS) this.#card(name);
    const context = () => ({ bpm: this.bpm() ?? null, meter: $("meter").value.trim() || "4/4", key: $("key").value.trim() || null, seconds: this.seconds() });
    const changed = () => this.remember();
    this.chords = new ChordLine(context, changed);
    this.roll = new Roll($("roll"), { low: model.lowest_pitch, high: model.highest_pitch, context, changed });
    this.steps = new Steps($("steps"), { voices: model.voices, context, changed });
    this.sources = {
      melody: new Source({ most: model.limits.upload_mib, name: "melody", title: "Upload MIDI or audio", midi: true, onTaken: (told, fresh) => this.#melody(told, fresh) }),
      drums: new Source({ most: model.limits.upload_mib, name: "drums", title: "Upload a loop", onTaken: (told) => this.#loop(told) }),
      paint: new Source({ most: model.limits.upload_mib, name: "paint", title: "Upload audio", onTaken: (told, fresh) => this.#paint(told, fresh), onMark: (start, end) => this.#marked(start, end) }),
      vary: new Source({ most: model.limits.upload_mib, name: "vary", title: "Upload audio", onTaken: (told, fresh) => this.#vary(told, fresh) }),
      mix: new Source({ most: model.limits.upload_mib, name: "mix", title: "Upload audio", onTaken: changed }),
      drumless: new Source({ most: model.limits.upload_mib, name: "drumless", title: "Upload audio", onTaken: changed }),
    };
    this.#paintParts();
    $("variation").addEventListener("input", () => this.#far());
    this.#far();
    for (const id of ["bpm", "meter", "length", "unit"]) $(id).addEventListener("input", () => this.#timeChanged());
    $("form").addEventListener("submit", (event) => { event.preventDefault(); make(); });
    $("form").addEventListener("input", changed);
    $("text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) make(); });
    $("reset").addEventListener("click", () => this.fill({}));
    $("load").addEventListener("change", () => this.#load());
    this.#tapping();
    this.#timeChanged();
  }

  bpm() {
    const bpm = number("bpm");
    return bpm >= 20 && bpm <= 400 ? bpm : undefined;
  }

  seconds() {
    const length = number("length") || this.model.seconds, bpm = this.bpm();
    if ($("unit").value === "seconds" || !bpm) return Math.min(length, this.most);
    const [count, unit] = $("meter").value.split("/").map(Number);
    const beats = unit === 8 && count % 3 === 0 ? count / 3 : (4 * count) / unit;
    return Math.min(Math.max((length * (beats || 4) * 60) / bpm, 0.1), this.most);
  }

  #timeChanged() {
    const bars = $("unit").value === "bars", notes = [];
    if (bars && !this.bpm()) notes.push("a length in bars needs a tempo.");
    if (bars && this.bpm()) notes.push(`${this.seconds().toFixed(1)} s.`);
    if (!this.bpm()) notes.push("Without a tempo the chords are spread over the clip once.");
    else if (!this.model.controls.beat) notes.push("The tempo spaces the bars of the chords and the drum pattern; this model has no control of its own for it.");
    $("tempo-note").textContent = notes.join(" ");
    this.chords?.later();
    this.roll?.draw();
  }

  #tapping() {
    let taps = [];
    $("tap").addEventListener("click", () => {
      const now = performance.now();
      taps = taps.length && now - taps.at(-1) < 2500 ? [...taps.slice(-7), now] : [now];
      if (taps.length < 3) return;
      $("bpm").value = Math.min(400, Math.max(20, Math.round((60000 * (taps.length - 1)) / (now - taps[0]))));
      this.#timeChanged();
    });
  }

  #card(name) {
    const card = document.querySelector(`[data-control="${name}"]`), box = $(`on-${name}`), has = name === "vary" || this.model.controls[name];
    card.classList.toggle("lacking", !has);
    box.disabled = !has;
    if (!has) card.append(element("p", { class: "why" }, `Not with this model: it was not trained with the control “${CONTROL_NAMES[name] ?? name}”.`));
    const show = () => card.classList.toggle("off", !box.checked);
    box.addEventListener("change", () => {
      show();
      if (box.checked && name === "chords" && !$("chords").value) $("chords").focus();
      if (box.checked && name === "chords") this.chords.draw();
      if (box.checked && name === "melody") this.roll.appear();
    });
    show();
    if (name === "vary") return;
    const parts = [element("label", {}, "Guidance of its own ", element("input", { id: `guidance-${name}`, type: "number", min: "-10", max: "10", step: "0.1", placeholder: "0", class: "short" }))];
    if (name !== "paint") {
      const field = (which, text, hint) => element("label", {}, text, element("input", { id: `${which}-${name}`, type: "number", min: "0", step: "any", placeholder: hint, class: "short" }));
      parts.unshift(field("from", "Acts from ", "start"), field("to", "to ", "end"), element("span", { class: "note" }, "s"));
    }
    card.querySelector(".more").append(element("details", {}, element("summary", {}, name === "paint" ? "How strongly" : "When, and how strongly"), element("div", { class: "row" }, ...parts)));
  }

  #common(name) {
    const from = $(`from-${name}`)?.value.trim() ?? "", to = $(`to-${name}`)?.value.trim() ?? "", several = $(`from-${name}`)?.dataset.several;
    const guidance = number(`guidance-${name}`);
    return { ...(from || to ? { during: `${from || 0}-${to}` } : several ? { during: several } : {}), ...(guidance ? { guidance } : {}) };
  }

  #melody(told, fresh) {
    const notes = told === null || told.kind === "midi";
    $("roll").hidden = !notes;
    if (told?.kind === "midi") {
      const choose = element("select", { "aria-label": "Track of the melody" }, ...told.tracks.map((track) => element("option", { value: track.number, selected: track.number === told.track }, `${track.number}: ${track.name || track.instrument} (${track.notes} notes, ${track.range})`)));
      const load = async () => {
        try {
          this.roll.set(await call(`/api/uploads/${told.id}/tracks/${choose.value}`));
        } catch (error) {
          this.sources.melody.say(error.message, true);
        }
      };
      choose.addEventListener("change", load);
      $("melody-file").append(element("div", { class: "row" }, element("label", {}, "Track ", choose)), ...told.notes.map((note) => element("p", { class: "note" }, note)));
      if (fresh) load();
    }
    else if (told) $("melody-file").append(...told.notes.map((note) => element("p", { class: "note" }, note)));
    this.remember();
  }

  #loop(told) {
    $("steps").hidden = told !== null;
    if (told) {
      for (const note of told.notes) $("drums-file").append(element("p", { class: "note" }, note));
      $("drums-file").append(element("div", { class: "row" }, element("label", {}, element("input", { type: "checkbox", id: "fit" }), "Stretch it to whole bars of the tempo")));
    }
    this.remember();
  }

  #paintParts() {
    const option = (value, text, checked) => element("label", {}, element("input", { type: "radio", name: "part", value, checked: Boolean(checked) }), text);
    this.part = element("div", { class: "row", role: "radiogroup", "aria-label": "What happens to the recording" },
      option("on", "go on where it ends", true), option("redo", "make the marked part anew"), option("keep", "keep the marked part alone"));
    const time = (id, text) => element("label", {}, text, element("input", { id, type: "number", min: "0", step: "0.01", class: "short" }));
    this.range = element("div", { class: "row" }, time("mark-from", "Marked from "), time("mark-to", "to "), element("span", { class: "note" }, "s; drag over the waveform"));
    $("paint-file").after(this.part, this.range);
    $("paint-sources").append(element("button", { type: "button", id: "last", onclick: () => this.onLast?.() }, "Use the last result"));
    this.part.addEventListener("change", () => this.#shape());
    this.range.addEventListener("input", () => this.#mark());
    this.#shape();
  }

  #shape() {
    const how = this.how();
    this.range.hidden = how === "on";
    const wave = this.sources?.paint.wave;
    if (wave) {
      if (how === "on") wave.marked = null;
      else if ($("mark-to").value === "") this.#marked(wave.seconds / 3, (2 * wave.seconds) / 3);
      this.#mark();
    }
  }

  how() { return this.part.querySelector("input:checked").value; }

  setHow(value) {
    this.part.querySelector(`[value="${value}"]`).checked = true;
    this.#shape();
  }

  #marked(start, end) {
    if (this.how() === "on") this.setHow("redo");
    $("mark-from").value = start.toFixed(2);
    $("mark-to").value = end.toFixed(2);
    this.#mark();
  }

  #mark() {
    const wave = this.sources.paint.wave, from = number("mark-from") ?? 0, to = number("mark-to");
    if (wave && this.how() !== "on" && to > from) wave.mark(from, Math.min(to, wave.seconds));
    else wave?.draw();
    this.remember();
  }

  #paint(told, fresh) {
    if (told && fresh) {
      const seconds = this.how() === "on" ? Math.min(told.seconds + this.model.seconds / 2, this.most) : Math.min(told.seconds, this.most);
      this.setLength(seconds);
    }
    this.#shape();
    this.remember();
  }

  #vary(told, fresh) {
    if (told && fresh) this.setLength(Math.min(told.seconds, Math.max(number("length") || 0, this.model.seconds)));
    this.remember();
  }

  #far() {
    const far = Number($("variation").value);
    $("variation-said").textContent = `${far.toFixed(2)}: ${far < 0.3 ? "nearly the same" : far < 0.85 ? "its details are others" : far < 1 ? "freer, for another text or other chords" : "independent of it"}`;
  }

  setLength(seconds) {
    $("unit").value = "seconds";
    $("length").value = Math.round(seconds * 100) / 100;
    this.#timeChanged();
  }

  // A take of one's own, to be gone on from ("on") or mended ("redo")
  paint(take, how) {
    $("mark-from").value = $("mark-to").value = "";
    this.part.querySelector(`[value="${how}"]`).checked = true;
    this.#give("paint", take);
  }

  // A take of one's own, of which others are to be variations
  vary(take) { this.#give("vary", take); }

  #give(name, take) {
    const card = document.querySelector(`[data-control="${name}"]`);
    $(`on-${name}`).checked = true;
    card.classList.remove("off");
    this.sources[name].show(take, true);
    card.scrollIntoView({ block: "center" });
    this.sources[name].wave.node.focus({ preventScroll: true });
  }

  // What the API takes; throws an error that says what is missing
  settings() {
    const on = (name) => $(`on-${name}`).checked && !$(`on-${name}`).disabled;
    const told = { text: $("text").value.trim(), meter: $("meter").value.trim() || "4/4", takes: number("takes") ?? 1, quality: $("quality").value };
    const set = (name, value) => { if (value !== undefined && value !== "") told[name] = value; };
    for (const name of ["bpm", "seed", "guidance", "text_guidance", "tolerance"]) set(name, number(name));
    set("key", $("key").value.trim());
    set("solver", $("solver").value);
    set("steps", number("steps-count"));
    if ($("unit").value === "bars") set("bars", number("length"));
    else set("seconds", number("length"));
    if ($("loop").checked) told.loop = true;
    if (on("chords")) told.chords = { text: need($("chords").value.trim(), "Chords are on, but none are written."), ...this.#common("chords") };
    if (on("melody")) {
      const { told: file } = this.sources.melody, notes = this.roll.sounding();
      const from = file?.kind === "audio" ? { upload: file.id } : { notes: need(notes.length && notes, "The melody is on, but it has no note in the clip.") };
      told.melody = { ...from, ...this.#common("melody") };
    }
    if (on("drums")) {
      const { told: file } = this.sources.drums;
      told.drums = { ...(file ? { upload: file.id, ...($("fit").checked ? { fit: true } : {}) } : { pattern: need(this.steps.pattern(), "The drums are on, but the pattern has no hit.") }), ...this.#common("drums") };
    }
    for (const name of ["mix", "drumless"]) {
      if (on(name)) told[name] = { upload: need(this.sources[name].told, "Music to follow is on, but none was given.").id, ...this.#common(name) };
    }
    if (on("dynamics")) told.dynamics = { curve: need($("dynamics").value.trim(), "The loudness is on, but no curve is written."), ...this.#common("dynamics") };
    if (on("vary")) {
      const file = need(this.sources.vary.told, "Varying is on, but no recording was given.");
      told.vary = { ...recording(file), variation: Number($("variation").value) };
    }
    if (on("paint")) {
      const file = need(this.sources.paint.told, "Continuing is on, but no recording was given.");
      const part = this.how() === "on" ? {} : { [this.how()]: `${number("mark-from") ?? 0}-${need(number("mark-to"), "Mark a part of the recording.")}` };
      told.paint = { ...recording(file), ...part, ...this.#common("paint") };
    }
    return told;
  }

  // The form as settings say it
  async fill(told) {
    const put = (id, value) => { $(id).value = value ?? ""; };
    for (const name of ["text", "bpm", "key", "seed", "guidance", "text_guidance", "tolerance", "solver"]) put(name, told[name]);
    put("meter", told.meter ?? "4/4");
    put("takes", told.takes ?? 2);
    put("quality", told.quality ?? "balanced");
    put("steps-count", told.steps);
    put("unit", told.bars ? "bars" : "seconds");
    put("length", told.bars ?? told.seconds ?? this.model.seconds);
    $("loop").checked = Boolean(told.loop);
    put("variation", told.vary?.variation ?? 0.7);
    this.#far();
    const lost = [];
    for (const name of CARDS) {
      const asked = told[name], box = $(`on-${name}`);
      box.checked = Boolean(asked) && !box.disabled;
      if (asked && box.disabled) lost.push(NAMES[name] || name);
      document.querySelector(`[data-control="${name}"]`).classList.toggle("off", !box.checked);
      if (asked?.guidance || asked?.during) $(`guidance-${name}`).closest("details").open = true;
      if (name !== "vary") {
        put(`guidance-${name}`, asked?.guidance);
        this.#during(name, asked?.during);
      }
      if (this.sources[name]) {
        const taken = await this.#given(asked);
        if (asked && (asked.upload || asked.take) && !taken) lost.push(`the recording for ${NAMES[name] || name}`);
        this.sources[name].show(taken);
        if (name === "drums" && taken) $("fit").checked = Boolean(asked.fit);
      }
    }
    const region = /^([0-9.]*)-([0-9.]*)$/.exec(told.paint?.redo ?? told.paint?.keep ?? "");
    put("mark-from", region?.[1]);
    put("mark-to", region?.[2]);
    this.setHow(told.paint?.redo ? "redo" : told.paint?.keep ? "keep" : "on");
    put("dynamics", told.dynamics?.curve);
    this.steps.swing.value = told.drums?.pattern?.swing ?? 0;
    this.steps.set(told.drums?.pattern?.voices ?? {}, told.drums?.pattern?.steps_per_beat);
    this.roll.set(told.melody?.notes ?? []);
    this.chords.set(told.chords?.text ?? "");
    this.#timeChanged();
    $("form-said").textContent = lost.length ? `Not here: ${lost.join(", ")}.` : "";
  }

  #during(name, written) {
    const from = $(`from-${name}`);
    if (!from) return;
    const found = /^([0-9.]*)-([0-9.]*)$/.exec(written ?? "");
    from.value = found?.[1] ?? "";
    $(`to-${name}`).value = found?.[2] ?? "";
    from.dataset.several = written && !found ? written : "";
    from.placeholder = written && !found ? written : "start";
  }

  async #given(asked) {
    try {
      if (asked?.upload) return await call(`/api/uploads/${asked.upload}`);
      if (asked?.take) return takeAsSource(await call(`/api/jobs/${asked.take.job}`), asked.take.take);
    } catch { /* it was deleted: the form says so */ }
    return null;
  }

  async #load() {
    const [file] = $("load").files;
    $("load").value = "";
    if (!file) return;
    try {
      const read = JSON.parse(await file.text());
      await this.fill(read.settings ?? read);
    } catch {
      $("form-said").textContent = `${file.name} holds no settings of this page.`;
    }
  }

  remember() {
    clearTimeout(this.kept);
    this.kept = setTimeout(() => {
      try {
        localStorage.setItem("jasco-form", JSON.stringify(this.draft()));
      } catch { /* private windows keep nothing */ }
    }, 300);
  }

  // The form as it is, unfinished parts too
  draft() {
    const told = {}, chords = $("chords").value.trim(), notes = this.roll.notes, pattern = this.steps.pattern();
    try {
      Object.assign(told, this.settings());
    } catch {
      Object.assign(told, { text: $("text").value, bpm: number("bpm"), meter: $("meter").value, takes: number("takes"), quality: $("quality").value, seconds: number("length") });
      if (chords && $("on-chords").checked) told.chords = { text: chords };
      if (notes.length && $("on-melody").checked) told.melody = { notes };
      if (pattern && $("on-drums").checked) told.drums = { pattern };
    }
    return told;
  }

  async restore() {
    let kept = null;
    try {
      kept = JSON.parse(localStorage.getItem("jasco-form") ?? "null");
    } catch { /* not ours */ }
    if (kept && typeof kept === "object") await this.fill(kept);
    else this.chords.set("");
  }
}

export function takeAsSource(job, index) {
  const take = job.takes[index];
  if (!take) return null;
  const url = `/api/jobs/${job.id}/takes/${index}.wav`;
  return { kind: "audio", name: `take ${index + 1}, seed ${take.seed}`, seconds: take.seconds, peaks: take.peaks, url, take: { job: job.id, take: index } };
}

// A take or an upload, as the API names it
function recording(file) { return file.take ? { take: file.take } : { upload: file.id }; }

function need(value, sentence) {
  if (value === undefined || value === null || value === "" || value === 0) throw new Error(sentence);
  return value;
}

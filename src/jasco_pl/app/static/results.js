// Jobs of this visitor, the newest first: how far each is, and its takes side by side.
import { call } from "/static/api.js";
import { takeAsSource } from "/static/form.js";
import { play, toggle } from "/static/player.js";
import { Wave } from "/static/wave.js";

const OVER = ["done", "failed", "cancelled", "interrupted"];
const FIRST = 6;

export class Results {
  constructor(form, again) {
    Object.assign(this, { form, again, cards: new Map(), known: [] });
    form.onLast = () => this.#last();
    $("older").addEventListener("click", () => this.more());
  }

  async restore() {
    this.known = await call("/api/jobs");
    await this.more();
  }

  async more() {
    const next = this.known.splice(0, FIRST);
    const jobs = await Promise.all(next.map(({ id }) => call(`/api/jobs/${id}`).catch(() => null)));
    for (const job of jobs) if (job) this.add(job, false);
    $("older").hidden = this.known.length === 0;
  }

  add(job, first = true) {
    const card = new Card(job, this);
    this.cards.set(job.id, card);
    $("jobs")[first ? "prepend" : "append"](card.node);
    $("empty").hidden = true;
    card.follow();
    return card;
  }

  remove(card) {
    this.cards.delete(card.job.id);
    card.node.remove();
    $("empty").hidden = this.cards.size > 0;
  }

  #last() {
    for (const { job } of [...this.cards.values()].sort((a, b) => b.job.created - a.job.created)) {
      if (job.takes.length) return this.form.paint(takeAsSource(job, 0), this.form.how());
    }
    this.form.sources.paint.say("there is no result yet.", true);
  }
}

class Card {
  constructor(job, results) {
    Object.assign(this, { job, results, takes: [] });
    this.title = element("h3", {}, job.settings.text || "(no description)");
    this.when = element("time", { class: "note", datetime: new Date(1000 * job.created).toISOString() }, new Date(1000 * job.created).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    this.head = element("header", {}, this.title, this.when);
    this.asked = element("div", { class: "asked-line" }, asked(job.settings));
    this.progress = element("div", { class: "going" });
    this.grid = element("div", { class: "takes" });
    this.foot = element("ul", { class: "notes" });
    this.bar = element("div", { class: "row" });
    this.node = element("article", { class: "card job", id: `job-${job.id}`, "data-job": job.id, "data-state": job.state }, this.head, this.asked, this.progress, this.grid, this.foot, this.bar);
    this.show(job);
  }

  async follow() {
    while (this.node.isConnected) {
      const over = OVER.includes(this.job.state);
      const listening = this.job.takes.some((take) => take.lanes === null) && Date.now() / 1000 - (this.job.ended ?? Infinity) < 180;
      if (over && !listening) return;
      await new Promise((resolve) => setTimeout(resolve, over ? 900 : 350));
      try {
        this.show(await call(`/api/jobs/${this.job.id}`));
      } catch (error) {
        if (error.status === 404) return this.results.remove(this);
        if (this.status) this.status.textContent = error.message; // a card that was over from the first has none
      }
    }
  }

  show(job) {
    const before = this.job;
    this.job = job;
    this.node.dataset.state = job.state;
    this.#going(job);
    job.takes.forEach((take, index) => {
      if (!this.takes[index]) {
        this.takes[index] = new OneTake(job, index, this.results);
        this.grid.append(this.takes[index].node);
      }
      this.takes[index].heard(take);
    });
    this.foot.replaceChildren(...job.notes.map((note) => element("li", {}, note)));
    const written = job.takes[0]?.lanes != null;
    if (before.state !== job.state || !this.bar.firstChild || this.written !== written) this.#tools(job, written);
    this.written = written;
  }

  #going(job) {
    const words = { done: "", failed: job.error, cancelled: "cancelled.", interrupted: job.error }[job.state];
    if (words !== undefined) {
      this.progress.replaceChildren(...(words ? [element("p", { class: "error", role: "status" }, words)] : []));
      return;
    }
    if (!this.meter?.isConnected) {
      this.meter = element("progress", { max: "1", "aria-label": "Progress" });
      this.status = element("span", { class: "note", role: "status" });
      const cancel = async () => {
        stopping.disabled = true;
        try {
          this.show(await call(`/api/jobs/${job.id}/cancel`, { method: "POST" }));
        } catch (error) {
          this.status.textContent = error.message;
        }
      };
      const stopping = element("button", { type: "button", class: "cancel", onclick: cancel }, "Cancel");
      this.progress.replaceChildren(this.meter, element("div", { class: "row" }, this.status, stopping));
    }
    this.meter.value = job.share;
    const left = job.left === null ? "" : `, about ${Math.max(1, Math.round(job.left))} s left`;
    const loading = this.results.loading?.() ? "the model is being loaded; " : "";
    this.status.textContent = job.state === "waiting" ? `${loading}waiting${job.before ? `, ${job.before} before it` : ""}${left}` : `making, ${Math.round(100 * job.share)} %${left}`;
  }

  #tools(job, written) {
    if (!OVER.includes(job.state)) return this.bar.replaceChildren();
    const tool = (text, act) => element("button", { type: "button", onclick: act }, text);
    const forget = async () => {
      try {
        await call(`/api/jobs/${job.id}`, { method: "DELETE" });
      } catch (error) {
        if (error.status !== 404) return this.foot.append(element("li", { class: "error" }, error.message));
      }
      this.results.remove(this);
    };
    this.bar.replaceChildren(
      tool("Into the form", () => this.results.form.fill(job.settings)),
      tool("Again with this seed", () => this.results.again(job.settings)),
      tool("Again with a new one", () => this.results.again({ ...job.settings, seed: undefined })),
      element("a", { class: "button", href: `/api/jobs/${job.id}/settings.json`, download: "settings.json" }, "Settings (JSON)"),
      ...(written && (job.settings.chords || job.settings.melody || job.settings.drums) ? [element("a", { class: "button", href: `/api/jobs/${job.id}/asked.mid`, download: "asked.mid" }, "What was asked (MIDI)")] : []),
      tool("Delete", forget));
  }
}

class OneTake {
  constructor(job, index, results) {
    const take = job.takes[index], url = `/api/jobs/${job.id}/takes/${index}`;
    Object.assign(this, { job, index, take });
    this.play = element("button", { type: "button", class: "play", "aria-label": `Play take ${index + 1}` }, "▶ Play");
    this.wave = new Wave({
      peaks: take.peaks, seconds: take.seconds, url: `${url}.wav`, label: `Take ${index + 1}`,
      onPlaying: (playing, failed) => { this.play.textContent = failed ? "cannot play" : playing ? "❚❚ Pause" : "▶ Play"; this.#head(); },
    });
    this.wave.loop = Boolean(job.settings.loop);
    this.play.addEventListener("click", () => toggle(this.wave));
    const tool = (text, act, hint) => element("button", { type: "button", onclick: act, title: hint }, text);
    const get = (kind) => element("a", { class: "button", href: `${url}.${kind}?download=true`, download: "", "aria-label": `Download take ${index + 1} as ${kind.toUpperCase()}` }, kind.toUpperCase());
    this.lanes = element("div", { class: "lanes", onclick: (event) => this.#seek(event) });
    this.line = element("div", { class: "head" });
    this.words = element("ul", { class: "words" });
    this.node = element("div", { class: "one", "data-take": index },
      element("div", { class: "row" }, this.play, element("span", { class: "note" }, `seed ${take.seed}`), get("wav"), get("flac"), get("json")),
      this.wave.node, this.lanes, this.words,
      element("div", { class: "row" },
        tool("Continue", () => results.form.paint(takeAsSource(this.job, index), "on"), "Go on where this take ends"),
        tool("Vary", () => results.form.vary(takeAsSource(this.job, index)), "Make others that are like this take"),
        tool("Fix a part", () => results.form.paint(takeAsSource(this.job, index), "redo"), "Mark a part and make it anew"),
        tool("Again with this seed", () => results.again({ ...job.settings, seed: take.seed, takes: 1 }))));
    new ResizeObserver(() => this.#draw()).observe(this.lanes);
  }

  heard(take) {
    if (take.lanes === null && !this.words.firstChild) this.words.replaceChildren(element("li", { class: "note" }, "listening to what came of it …"));
    if (take.lanes === null || this.shown) return;
    this.shown = take;
    this.words.replaceChildren(...take.words.map((sentence) => {
      const at = sentence.indexOf(":");
      return element("li", {}, element("b", {}, sentence.slice(0, at + 1)), sentence.slice(at + 1));
    }));
    this.#draw();
  }

  #draw() {
    const width = this.lanes.clientWidth;
    if (!this.shown || !width || this.width === width) return;
    this.width = width;
    drawLanes(this.lanes, { name: `take ${this.index + 1}`, lanes: this.shown.lanes, given: Object.keys(this.shown.lanes), seconds: this.shown.seconds });
    this.lanes.append(this.line);
    this.#head();
  }

  #head() {
    const width = this.lanes.clientWidth, left = gutter(width);
    this.line.hidden = !this.wave.time;
    this.line.style.transform = `translateX(${left + (this.wave.time / this.wave.seconds) * (width - left - 1)}px)`;
  }

  #seek(event) {
    const bounds = this.lanes.getBoundingClientRect(), left = gutter(bounds.width);
    const share = (event.clientX - bounds.left - left) / (bounds.width - left - 1);
    if (share >= 0) play(this.wave, Math.min(share, 0.99) * this.wave.seconds);
  }
}

// What was asked for, in a line
function asked(told) {
  const parts = [];
  if (told.chords) parts.push(told.chords.text.replace(/\s+/g, " "));
  if (told.bpm) parts.push(`${told.bpm} bpm`);
  if (told.melody) parts.push(told.melody.notes ? `melody of ${told.melody.notes.length} notes` : "melody");
  if (told.drums) parts.push(told.drums.pattern ? "drum pattern" : "drum loop");
  for (const [name, words] of [["mix", "music to follow"], ["drumless", "music to follow"], ["dynamics", "loudness"]]) if (told[name]) parts.push(words);
  if (told.paint) parts.push(told.paint.redo ? `made anew ${told.paint.redo} s` : told.paint.keep ? `kept ${told.paint.keep} s` : "continued");
  if (told.vary) parts.push(`variation by ${told.vary.variation ?? 0.7}`);
  if (told.loop) parts.push("loop");
  return parts.join(" · ");
}

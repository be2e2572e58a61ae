// A small piano roll: one note at a time, on a grid of beats where there is a tempo, else of quarter seconds.
const ROW = 13, SECOND = 64, KEYS = 40;

export class Roll {
  // context(): {bpm, seconds}
  constructor(place, { low, high, context, changed }) {
    Object.assign(this, { low, high, context, changed, notes: [], cursor: { pitch: 67, cell: 0 } });
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": "Piano roll. Arrow keys move, Enter sets or removes a note, plus and minus change its length", id: "roll-canvas" });
    this.frame = element("div", { class: "roll-frame" }, this.canvas);
    this.said = element("span", { class: "hidden", role: "status" });
    this.length = element("select", { id: "note-length" }, ...[["1", "1 step"], ["2", "2 steps"], ["4", "4 steps"], ["8", "8 steps"]].map(([value, text]) => element("option", { value }, text)));
    this.length.value = "2";
    this.count = element("span", { class: "note" });
    this.listening = element("button", { type: "button", onclick: () => this.listen() }, "▶ Listen");
    place.append(
      element("div", { class: "row" },
        element("label", {}, "New note ", this.length),
        this.listening,
        element("button", { type: "button", onclick: () => this.set([]) }, "Clear"), this.count),
      this.frame, this.said, element("p", { class: "note" }, "Click to set a note, click it again to remove it, drag to make it longer."));
    this.canvas.addEventListener("pointerdown", (event) => this.#down(event));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("focus", () => this.draw());
    this.canvas.addEventListener("blur", () => this.draw());
    this.draw();
  }

  // Once it can be seen: the middle of the range, or the tune
  appear() {
    const top = Math.max(79, ...this.notes.map((note) => note[0] + 2));
    this.frame.scrollTop = Math.max(0, (this.high - top) * ROW);
    this.draw();
  }

  // Seconds of a cell of the grid: a quarter of a beat
  get cell() {
    const { bpm } = this.context();
    return bpm ? 15 / bpm : 0.25;
  }

  set(notes) {
    this.notes = [...notes].sort((a, b) => a[1] - b[1]);
    this.appear();
    this.changed();
  }

  // Notes of the clip, cut at its end
  sounding() {
    const { seconds } = this.context();
    return this.notes.filter((note) => note[1] < seconds).map(([pitch, start, end]) => [pitch, +start.toFixed(4), +Math.min(end, seconds).toFixed(4)]).filter(([, start, end]) => end > start);
  }

  #put(pitch, start, end) {
    this.notes = this.notes.flatMap((note) => {
      const [, from, to] = note;
      if (to <= start + 1e-6 || from >= end - 1e-6) return [note];
      return from < start - 1e-6 ? [[note[0], from, start]] : []; // one note at a time: what is covered goes
    });
    this.notes.push([pitch, start, end]);
    this.notes.sort((a, b) => a[1] - b[1]);
  }

  #find(pitch, time) {
    return this.notes.findIndex((note) => note[0] === pitch && note[1] <= time + 1e-6 && time < note[2] - 1e-6);
  }

  #place(event) {
    const bounds = this.canvas.getBoundingClientRect();
    return { pitch: this.high - Math.floor((event.clientY - bounds.top) / ROW), time: (event.clientX - bounds.left - KEYS) / SECOND };
  }

  #down(event) {
    const { pitch, time } = this.#place(event), found = this.#find(pitch, time);
    if (time < 0 || pitch < this.low || pitch > this.high || time >= this.context().seconds) return;
    this.cursor = { pitch, cell: Math.floor(time / this.cell) };
    if (found >= 0) {
      this.notes.splice(found, 1);
      return this.#done(`removed ${pitchName(pitch)}`);
    }
    const start = Math.floor(time / this.cell + 1e-6) * this.cell, least = start + this.length.value * this.cell;
    this.#put(pitch, start, least);
    beep(pitch, 0.25);
    const touch = event.pointerType === "touch";
    const move = (next) => {
      const end = Math.ceil(this.#place(next).time / this.cell) * this.cell;
      this.#put(pitch, start, Math.max(end, start + this.cell, this.#moved ? 0 : least));
      this.#moved = true;
      this.draw();
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      this.#moved = false;
      this.changed();
    };
    if (!touch) addEventListener("pointermove", move); // there a finger scrolls
    addEventListener("pointerup", up);
    this.#done(`set ${pitchName(pitch)}`);
  }

  #moved = false;

  #done(words) {
    this.said.textContent = words;
    this.draw();
    this.changed();
  }

  #key(event) {
    const { cursor, cell } = this, time = cursor.cell * cell, found = this.#find(cursor.pitch, time + cell / 2);
    const most = Math.ceil(this.context().seconds / cell) - 1;
    if (event.key === "ArrowUp") cursor.pitch = Math.min(cursor.pitch + 1, this.high);
    else if (event.key === "ArrowDown") cursor.pitch = Math.max(cursor.pitch - 1, this.low);
    else if (event.key === "ArrowRight") cursor.cell = Math.min(cursor.cell + 1, most);
    else if (event.key === "ArrowLeft") cursor.cell = Math.max(cursor.cell - 1, 0);
    else if (event.key === "Enter" || event.key === " ") {
      if (found >= 0) this.notes.splice(found, 1);
      else {
        this.#put(cursor.pitch, time, time + this.length.value * cell);
        beep(cursor.pitch, 0.25);
      }
      event.preventDefault();
      return this.#done(`${found >= 0 ? "removed" : "set"} ${pitchName(cursor.pitch)} at ${time.toFixed(2)} seconds`);
    } else if ((event.key === "+" || event.key === "-") && found >= 0) {
      const [pitch, start, end] = this.notes[found];
      this.notes.splice(found, 1);
      this.#put(pitch, start, Math.max(start + cell, end + (event.key === "+" ? cell : -cell)));
    } else return;
    event.preventDefault();
    this.#follow();
    this.#done(`${pitchName(cursor.pitch)}, ${(cursor.cell * cell).toFixed(2)} seconds`);
  }

  #follow() {
    const x = KEYS + this.cursor.cell * this.cell * SECOND, y = (this.high - this.cursor.pitch) * ROW;
    if (y < this.frame.scrollTop || y > this.frame.scrollTop + this.frame.clientHeight - 2 * ROW) this.frame.scrollTop = y - this.frame.clientHeight / 2;
    if (x < this.frame.scrollLeft + KEYS || x > this.frame.scrollLeft + this.frame.clientWidth - 40) this.frame.scrollLeft = x - this.frame.clientWidth / 2;
  }

  draw() {
    const { seconds, bpm } = this.context(), width = Math.min(KEYS + seconds * SECOND, 12000), height = (this.high - this.low + 1) * ROW;
    this.canvas.width = width;
    this.canvas.height = height;
    const pen = this.canvas.getContext("2d"), style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    pen.fillStyle = colour("--card");
    pen.fillRect(0, 0, width, height);
    pen.font = `10px ${colour("--sans")}`;
    const y = (pitch) => (this.high - pitch) * ROW, x = (time) => KEYS + time * SECOND;
    for (let pitch = this.low; pitch <= this.high; pitch++) {
      if ([1, 3, 6, 8, 10].includes(pitch % 12)) {
        pen.fillStyle = colour("--shade");
        pen.fillRect(0, y(pitch), width, ROW);
      }
      pen.fillStyle = colour(pitch % 12 === 0 ? "--grey" : "--line");
      pen.fillRect(0, y(pitch) + ROW - 1, width, pitch % 12 === 0 ? 1 : 0.5);
    }
    for (let index = 0; index * this.cell < seconds && index < 4000; index++) {
      pen.fillStyle = colour(index % 4 === 0 ? "--grey" : "--line");
      pen.fillRect(x(index * this.cell), 0, index % 4 === 0 ? 1 : 0.5, height);
    }
    for (const [pitch, start, end] of this.notes) {
      if (start >= seconds) continue;
      pen.fillStyle = colour("--accent");
      pen.beginPath();
      pen.roundRect(x(start) + 0.5, y(pitch) + 1, Math.max((Math.min(end, seconds) - start) * SECOND - 1, 2), ROW - 2, 3);
      pen.fill();
    }
    if (document.activeElement === this.canvas) {
      pen.strokeStyle = colour("--bad");
      pen.lineWidth = 2;
      pen.strokeRect(x(this.cursor.cell * this.cell), y(this.cursor.pitch), this.cell * SECOND, ROW);
    }
    pen.fillStyle = colour("--soft");
    for (let pitch = this.low; pitch <= this.high; pitch++) if (pitch % 12 === 0 || pitch % 12 === 7) pen.fillText(pitchName(pitch), 4, y(pitch) + ROW - 3);
    const inside = this.sounding().length;
    this.count.textContent = `${inside} note${inside === 1 ? "" : "s"}${bpm ? `, 4 steps a beat` : ", 4 steps a second"}`;
  }

  // Play what is there; again to stop
  listen() {
    clearTimeout(this.until);
    const before = this.tune;
    this.tune = null;
    before?.close();
    this.listening.textContent = "▶ Listen";
    const notes = this.sounding();
    if (before || !notes.length) return;
    const tune = (this.tune = new AudioContext()), now = tune.currentTime + 0.05;
    for (const [pitch, start, end] of notes) tone(tune, pitch, now + start, end - start);
    this.listening.textContent = "■ Stop";
    this.until = setTimeout(() => this.listen(), 1000 * (notes.at(-1)[2] + 0.5));
  }
}

let context = null;
const sound = () => (context ??= new AudioContext());

function tone(context, pitch, at, length) {
  const oscillator = context.createOscillator(), gain = context.createGain();
  oscillator.type = "triangle";
  oscillator.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(0.25, at + 0.01);
  gain.gain.setTargetAtTime(0, at + Math.max(length - 0.03, 0.02), 0.02);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(at);
  oscillator.stop(at + length + 0.2);
}

function beep(pitch, length) {
  tone(sound(), pitch, sound().currentTime, length);
}

// A waveform that is a player: a click or the arrow keys move in it; where it has a marked part, dragging marks another.
import { play, timeOf } from "/static/player.js";

export class Wave {
  // peaks 0..100; url of the sound; onMark(start, end) makes a part of it markable
  constructor({ peaks, seconds, url, label, onMark = null, onPlaying = () => {} }) {
    Object.assign(this, { peaks, seconds, url, onMark, onPlaying, time: 0, marked: null, loop: false });
    this.node = element("canvas", { class: "wave", tabindex: "0", role: "slider", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": seconds.toFixed(1) });
    this.node.addEventListener("pointerdown", (event) => this.#down(event));
    this.node.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  moved(time, playing) {
    this.time = time;
    this.onPlaying(playing);
    this.draw();
  }

  failed() { this.onPlaying(false, true); }

  #at(event) {
    const bounds = this.node.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - bounds.left) / bounds.width, 0), 1) * this.seconds;
  }

  #down(event) {
    const from = this.#at(event);
    let dragged = false;
    const move = (next) => {
      if (!this.onMark || Math.abs(this.#at(next) - from) < this.seconds / 60) return;
      dragged = true;
      this.mark(Math.min(from, this.#at(next)), Math.max(from, this.#at(next)));
      this.onMark(...this.marked);
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      removeEventListener("pointercancel", up);
      if (!dragged) play(this, Math.min(from, this.seconds - 0.05));
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", up);
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[event.key];
    const to = event.key === "Home" ? 0 : by ? timeOf(this) + by : null;
    if (to === null) return;
    event.preventDefault();
    play(this, Math.min(Math.max(to, 0), this.seconds - 0.05));
  }

  mark(start, end) {
    this.marked = [Math.round(start * 100) / 100, Math.round(end * 100) / 100];
    this.draw();
  }

  draw() {
    const width = this.node.clientWidth, height = this.node.clientHeight, scale = devicePixelRatio || 1;
    if (!width) return;
    if (this.node.width !== Math.round(width * scale)) {
      this.node.width = Math.round(width * scale);
      this.node.height = Math.round(height * scale);
    }
    const pen = this.node.getContext("2d"), style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const x = (time) => (time / this.seconds) * width;
    if (this.marked) {
      pen.fillStyle = colour("--pale");
      pen.fillRect(x(this.marked[0]), 0, Math.max(1, x(this.marked[1]) - x(this.marked[0])), height);
    }
    const step = width / this.peaks.length, now = x(this.time);
    this.peaks.forEach((value, index) => {
      const tall = Math.max(1, (value / 100) * (height - 6));
      pen.fillStyle = colour(index * step < now ? "--accent" : "--grey");
      pen.fillRect(index * step, (height - tall) / 2, Math.max(step - 0.4, 0.6), tall);
    });
    if (this.time > 0) {
      pen.fillStyle = colour("--ink");
      pen.fillRect(now, 0, 1.5, height);
    }
    this.node.setAttribute("aria-valuenow", this.time.toFixed(1));
    this.node.setAttribute("aria-valuetext", `${this.time.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
  }
}

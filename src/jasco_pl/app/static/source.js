// Where sound or notes come from: a file, or the microphone. What was taken is shown with its waveform and can be removed.
import { upload } from "/static/api.js";
import { toggle } from "/static/player.js";
import { Wave } from "/static/wave.js";

const AUDIO = ".wav,.flac,.ogg,.mp3,.opus,.aiff,.aif,audio/*";

export class Source {
  // name: of the control; most: MiB; midi: whether notes are taken too; onTaken(told, fresh); onMark: of the waveform
  constructor({ name, title, most, midi = false, onTaken = () => {}, onMark = null }) {
    Object.assign(this, { name, midi, most, onTaken, onMark, told: null, wave: null });
    this.said = element("span", { class: "note", role: "status" });
    this.record = element("button", { type: "button", onclick: () => this.#record() }, "● Record");
    const input = element("input", { type: "file", class: "hidden", id: `file-${name}`, accept: midi ? `.mid,.midi,audio/midi,${AUDIO}` : AUDIO });
    input.addEventListener("change", () => {
      if (input.files.length) this.take(input.files[0], input.files[0].name);
      input.value = "";
    });
    const label = element("label", { class: "button" }, title, input);
    $(`${name}-sources`).append(label, this.record, this.said);
    this.file = $(`${name}-file`);
    if (!navigator.mediaDevices?.getUserMedia) {
      this.record.disabled = true;
      this.record.title = "this browser gives no microphone to a page that is not local or encrypted";
    }
  }

  async take(blob, name) {
    if (blob.size > this.most * 2 ** 20) return this.say(`${name} has ${Math.round(blob.size / 2 ** 20)} MiB, where ${this.most} MiB are the most that is taken.`, true);
    this.say("reading …");
    try {
      const told = await upload(blob, name);
      this.say("");
      this.show(told, true);
    } catch (error) {
      this.say(error.message, true);
    }
  }

  say(text, bad = false) {
    this.said.textContent = text;
    this.said.classList.toggle("error", bad);
  }

  // told: as the server describes an upload, or {take: {job, take}, peaks, seconds, url, name}
  show(told, fresh = false) {
    this.told = told;
    this.wave = null;
    this.file.replaceChildren();
    if (told === null) return this.onTaken(null, fresh);
    const remove = element("button", { type: "button", onclick: () => this.show(null, true), "aria-label": `Remove ${told.name}` }, "remove");
    const bar = element("div", { class: "row" }, element("span", { class: "picked" }, `${told.name}, ${told.seconds.toFixed(1)} s`));
    if (told.kind !== "midi") {
      const button = element("button", { type: "button" }, "▶ Play");
      this.wave = new Wave({
        peaks: told.peaks, seconds: told.seconds, url: told.url || `/api/uploads/${told.id}/audio`, label: `Waveform of ${told.name}`, onMark: this.onMark,
        onPlaying: (playing, failed) => { button.textContent = failed ? "cannot play" : playing ? "❚❚ Pause" : "▶ Play"; },
      });
      button.addEventListener("click", () => toggle(this.wave));
      bar.append(button);
      this.file.append(this.wave.node);
    }
    bar.append(remove);
    this.file.append(bar);
    this.onTaken(told, fresh);
  }

  async #record() {
    if (this.recording) return this.recording.stop();
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    } catch {
      return this.say("the microphone was not allowed, or there is none.", true);
    }
    const recorder = new MediaRecorder(stream), parts = [], began = performance.now();
    const clock = setInterval(() => this.say(`recording ${((performance.now() - began) / 1000).toFixed(0)} s`), 250);
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", async () => {
      clearInterval(clock);
      stream.getTracks().forEach((track) => track.stop());
      this.recording = null;
      this.record.textContent = "● Record";
      try {
        await this.take(await asWav(new Blob(parts)), "recording.wav");
      } catch {
        this.say("the recording could not be read by this browser.", true);
      }
    });
    recorder.start();
    this.recording = recorder;
    this.record.textContent = "■ Stop";
  }
}

// What browsers record (WebM, MP4) is no format of music files: it becomes WAV, mono, 16 bits.
async function asWav(blob) {
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const length = sound.length, view = new DataView(new ArrayBuffer(44 + 2 * length));
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * length, true);
  const channels = Array.from({ length: sound.numberOfChannels }, (_, index) => sound.getChannelData(index));
  for (let at = 0; at < length; at++) {
    const mean = channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length;
    view.setInt16(44 + 2 * at, Math.max(-1, Math.min(1, mean)) * 32767, true);
  }
  return new Blob([view], { type: "audio/wav" });
}

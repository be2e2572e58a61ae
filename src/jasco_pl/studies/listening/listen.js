"use strict";
// The listening test. All it needs stands in the page: STUDY = {version, seed, title, questions, clips, per_rater, finished, post}.
const STUDY = JSON.parse(document.getElementById("study").textContent);
const COLUMNS = ["rater", "version", "clip", "stimulus", "question", "score", "listened", "seconds", "timestamp"];
const stage = document.getElementById("stage");
const [PLAY, PAUSE] = ["▶\ufe0e", "❚❚\ufe0e"]; // as text, where a telephone would draw a coloured picture
let players = []; // of the screen that is shown
let storable = true;

// --- randomness: the same rater sees the same order again, another rater another one ---

function hash(text) { // FNV-1a
  let value = 2166136261;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 16777619);
  return value >>> 0;
}

function generator(text) { // mulberry32
  let state = hash(text);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(items, ...names) {
  const draw = generator([STUDY.seed, state.rater, ...names].join("|"));
  const list = [...items];
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

// --- what is kept: answers, what was heard, time spent; a reload goes on where it was ---

const asked = (new URLSearchParams(location.search).get("rater") || "").replace(/[^\w.-]/g, "").slice(0, 64);
const slot = `jasco-listen:${STUDY.version}:${asked}`;

function fresh() {
  const digits = crypto.getRandomValues(new Uint8Array(6));
  const rater = asked || Array.from(digits, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { rater, screen: -1, answers: {}, heard: {}, seconds: {}, sent: false };
}

function load() {
  try {
    return JSON.parse(localStorage.getItem(slot)) || fresh();
  } catch {
    return fresh();
  }
}

function save() {
  try {
    localStorage.setItem(slot, JSON.stringify(state));
  } catch {
    storable = false;
  }
}

let state = load();
save();
const clipsOf = () => shuffled(STUDY.clips, "clips").slice(0, STUDY.per_rater || STUDY.clips.length);
let clips = clipsOf();

function union(spans) {
  const merged = [];
  for (const [from, to] of spans.sort((a, b) => a[0] - b[0])) {
    const last = merged[merged.length - 1];
    if (last && from <= last[1] + 0.01) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

function share(id, seconds) {
  const heard = (state.heard[id] || []).reduce((sum, [from, to]) => sum + to - from, 0);
  return Math.min(1, heard / seconds);
}

const isHeard = (id, clip) => share(id, clip.seconds) >= STUDY.finished;

function missing(clip) {
  const order = shuffled(clip.stimuli, clip.id);
  const letters = (test) => order.map((id, i) => (test(id) ? letter(i) : "")).filter(Boolean).join(", ");
  const unheard = letters((id) => !isHeard(id, clip));
  const unrated = letters((id) => isHeard(id, clip) && STUDY.questions.some((q) => !(state.answers[id] || {})[q.key]));
  return [unheard && `hear ${unheard} to the end`, unrated && `rate ${unrated}`].filter(Boolean).join("; ");
}

function table() {
  const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const lines = [COLUMNS.join(",")];
  for (const clip of clips)
    for (const id of clip.stimuli)
      for (const [question, { score, at }] of Object.entries(state.answers[id] || {})) {
        const listened = share(id, clip.seconds).toFixed(3);
        lines.push([state.rater, STUDY.version, clip.id, id, question, score, listened, state.seconds[clip.id] || 0, at].map(quoted).join(","));
      }
  return lines.join("\n") + "\n";
}

// --- small helpers for the page ---

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const letter = (i) => String.fromCharCode(65 + i);
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function clear(level, title) { // an empty screen with its heading
  for (const player of players) player.stop();
  players = [];
  const notice = el("p", { class: "notice", role: "alert" }, "This browser does not keep your progress: please do not reload or close the page.");
  const heading = el(level, { tabindex: -1 }, title);
  stage.replaceChildren(...(storable ? [] : [notice]), heading);
  window.scrollTo(0, 0);
  heading.focus();
}

// --- one recording: a play button, a line to seek on, and what of it was really played ---

function makePlayer(id, clip, name, onheard = null) { // without onheard it is a sample: what is heard of it does not count
  const audio = new Audio(`audio/${id}${STUDY.suffix}`);
  audio.preload = "auto";
  const button = el("button", { class: "play", type: "button", "aria-label": `Play ${name}`, onclick: toggle }, PLAY);
  const seek = el("input", {
    type: "range", class: "seek", min: 0, max: clip.seconds, step: 0.1, value: 0, disabled: true, "aria-label": `Position in ${name}`,
    oninput: () => (audio.currentTime = Number(seek.value)),
  });
  const note = el("span", { class: "heard" });
  const time = el("span", { class: "time" }, `0:00 / ${clock(clip.seconds)}`);
  let frame = 0;

  function toggle() {
    if (!audio.paused) return audio.pause();
    for (const other of players) if (other.audio !== audio) other.audio.pause();
    audio.play().catch(() => (note.textContent = "cannot be played here"));
  }

  function listen() {
    if (!onheard) return;
    // audio.played holds the stretches that really sounded since the page was opened
    const spans = Array.from({ length: audio.played.length }, (_, i) => [audio.played.start(i), audio.played.end(i)]);
    const before = isHeard(id, clip);
    state.heard[id] = union([...(state.heard[id] || []), ...spans]);
    refresh();
    if (!before && isHeard(id, clip)) onheard();
  }

  function refresh() {
    const part = share(id, clip.seconds);
    if (onheard) note.textContent = part >= STUDY.finished ? "✓ heard" : part > 0 ? `${Math.floor(part * 100)} % heard` : "";
    time.textContent = `${clock(audio.currentTime)} / ${clock(clip.seconds)}`;
    if (document.activeElement !== seek || !audio.paused) seek.value = audio.currentTime;
    seek.style.setProperty("--played", `${(100 * audio.currentTime) / clip.seconds}%`);
  }

  function follow() {
    refresh();
    frame = audio.paused ? 0 : requestAnimationFrame(follow);
  }

  audio.addEventListener("loadedmetadata", () => (seek.disabled = false)); // Chromium takes what an earlier jump left out for played
  audio.addEventListener("timeupdate", listen);
  audio.addEventListener("play", () => {
    button.textContent = PAUSE;
    button.setAttribute("aria-label", `Pause ${name}`);
    follow();
  });
  for (const event of ["pause", "ended"])
    audio.addEventListener(event, () => {
      button.textContent = PLAY;
      button.setAttribute("aria-label", `Play ${name}`);
      listen();
      save();
    });
  audio.addEventListener("error", () => (note.textContent = "cannot be loaded: please tell the person who sent you here"));
  refresh();
  const player = { audio, toggle, node: el("div", { class: "player" }, button, seek, time, note) };
  player.stop = () => {
    cancelAnimationFrame(frame);
    if (!audio.paused) audio.pause();
  };
  players.push(player);
  return player;
}

// --- one version of a piece: its player and a scale for every question ---

function makeScale(question, id, name, enabled, onanswer) {
  const given = (state.answers[id] || {})[question.key];
  const word = (score) => question.labels[Math.min(4, Math.floor(score / 20))];
  const value = el("output", {}, given ? String(given.score) : "–");
  const slider = el("input", {
    type: "range", class: given ? "score" : "score unset", min: 0, max: 100, step: 1, value: given ? given.score : 50,
    disabled: !enabled, "aria-label": `${question.title}, ${name}`, "aria-valuetext": given ? `${given.score}, ${word(given.score)}` : "not rated yet",
  });
  function answer() {
    const score = Number(slider.value);
    state.answers[id] = { ...state.answers[id], [question.key]: { score, at: new Date().toISOString() } };
    slider.classList.remove("unset");
    slider.setAttribute("aria-valuetext", `${score}, ${word(score)}`);
    value.textContent = String(score);
    state.sent = false;
    save();
    onanswer();
  }
  slider.addEventListener("input", answer);
  slider.addEventListener("click", answer); // the middle, where the untouched slider stands, is an answer too
  slider.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") answer();
  });
  const ranges = el("div", { class: "ranges", "aria-hidden": "true" }, ...question.labels.map((label) => el("span", {}, label)));
  return el("div", { class: "scale" }, el("div", { class: "question" }, el("span", {}, question.title), value), slider, ranges);
}

function makeVersion(id, clip, name, onchange) {
  const card = el("section", { class: "version", "aria-label": name });
  const unlock = () => {
    for (const slider of card.querySelectorAll(".score")) slider.disabled = false;
    card.classList.remove("locked");
    save();
    onchange();
  };
  const player = makePlayer(id, clip, name, unlock);
  const ready = isHeard(id, clip);
  if (!ready) card.classList.add("locked");
  card.append(el("h3", {}, name), player.node, ...STUDY.questions.map((question) => makeScale(question, id, name, ready, onchange)));
  card.append(el("p", { class: "hint" }, "Hear it to the end, then the scales open."));
  return card;
}

// --- the screens: welcome, one a piece, the end ---

function welcome() {
  clear("h1", STUDY.title);
  const rules = document.getElementById("instructions").content.cloneNode(true);
  const sample = makePlayer(shuffled(clips[0].stimuli, "sample")[0], clips[0], "the sample");
  const begin = el("button", { class: "primary", type: "button", onclick: () => go(0) }, "Begin");
  stage.append(rules, el("h2", {}, "Set the volume"), sample.node, el("p", {}, begin));
}

function piece(index) {
  const clip = clips[index];
  const needs = el("span", { class: "needs", role: "status" });
  const last = index === clips.length - 1;
  const next = el("button", { class: "primary", type: "button", onclick: () => go(index + 1) }, last ? "Finish" : "Next piece");
  const back = el("button", { type: "button", disabled: index === 0, onclick: () => go(index - 1) }, "Back");
  const update = () => {
    const open = missing(clip);
    needs.textContent = open && `Still to do: ${open}.`;
    next.disabled = Boolean(open);
  };
  clear("h2", `Piece ${index + 1} of ${clips.length}`);
  const bar = el("progress", { max: clips.length, value: index, "aria-label": "Pieces done" });
  const versions = shuffled(clip.stimuli, clip.id).map((id, i) => makeVersion(id, clip, `Version ${letter(i)}`, update));
  const about = el("div", { class: "about" });
  if (clip.caption !== null) about.append(el("p", {}, el("span", { class: "label" }, "Description"), el("q", {}, clip.caption)));
  if (clip.reference !== null) {
    const reference = makePlayer(clip.reference, clip, "the reference");
    about.append(el("div", {}, el("span", { class: "label" }, "Reference recording"), reference.node));
  }
  const questions = el("ul", { class: "questions" }, ...STUDY.questions.map((q) => el("li", {}, el("b", {}, q.title), `: ${q.ask}`)));
  stage.append(bar, about, questions, el("div", { class: "versions" }, ...versions), el("nav", { class: "steps" }, back, next, needs));
  update();
}

function end() {
  const file = () => new Blob([table()], { type: "text/csv" });
  const download = () => {
    const url = URL.createObjectURL(file());
    el("a", { href: url, download: `results-${state.rater}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const status = el("p", { role: "status", id: "sent" });
  const send = async () => {
    status.textContent = "Sending your answers …";
    try { // text/plain, so that the receiver need not answer a preflight
      const answer = await fetch(STUDY.post, { method: "POST", headers: { "Content-Type": "text/plain;charset=utf-8" }, body: table() });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      state.sent = true;
      save();
      status.textContent = "Your answers have arrived. You can close the page.";
    } catch (error) {
      status.textContent = `Sending failed (${error.message}). Please download the file below and send it by hand.`;
    }
  };
  const another = () => {
    if (!confirm("Have the answers been sent or downloaded? They will be deleted here.")) return;
    state = fresh();
    save();
    clips = clipsOf();
    go(-1);
  };
  const button = el("button", { class: "primary", type: "button", id: "download", onclick: download }, "Download your answers");
  const left = STUDY.post ? "" : "Please download your answers and send the file to the person who asked you.";
  clear("h1", "Thank you");
  stage.append(el("p", {}, left), status, el("p", {}, button), el("p", {}, `Your number: ${state.rater}`),
    el("nav", { class: "steps" }, el("button", { type: "button", onclick: () => go(clips.length - 1) }, "Back"),
      STUDY.post ? el("button", { type: "button", onclick: send }, "Send again") : "",
      asked ? "" : el("button", { type: "button", onclick: another }, "Another person will listen on this device")));
  if (STUDY.post && state.sent) status.textContent = "Your answers have arrived. You can close the page.";
  else if (STUDY.post) send();
}

function go(screen) {
  state.screen = Math.min(screen, clips.length);
  save();
  if (state.screen < 0) welcome();
  else if (state.screen < clips.length) piece(state.screen);
  else end();
}

document.addEventListener("keydown", (event) => { // 1-9 play a version, 0 the reference
  if (event.ctrlKey || event.metaKey || event.altKey || !/^\d$/.test(event.key) || state.screen < 0 || state.screen >= clips.length) return;
  const versions = clips[state.screen].stimuli.length; // a reference comes after them
  const number = Number(event.key);
  const player = number === 0 ? players[versions] : players[number - 1];
  if (player) player.toggle();
});

setInterval(() => { // time spent on a piece counts while the page is seen
  const clip = clips[state.screen];
  if (!clip || document.visibilityState !== "visible") return;
  state.seconds[clip.id] = (state.seconds[clip.id] || 0) + 1;
  if (state.seconds[clip.id] % 5 === 0) save();
}, 1000);

go(state.screen);

// The clips of an evaluation: chosen, sorted, filtered, drawn and played. The state of the view stands in the address after #:
// row (a name, or "all" for every row of a piece beside each other), sort (a column's key), best=1 for best first, find (words).
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NARROW = 620, AXIS = 16, GAP = 7;
const LANES = { labels: 42, notes: 88, events: 38, curve: 52, texts: 20 }; // heights in pixels, by kind
const SHARPS = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const VERDICTS = ["not asked for", "right", "same triad", "wrong"];

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function shape(parent, tag, attributes, text) {
  const node = document.createElementNS($("hatch").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, typeof value === "number" ? +value.toFixed(2) : value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

const number = (value, column) => (value === null ? "–" : value.toFixed(column.digits ?? 3));
const pitchName = (midi) => SHARPS[midi % 12] + (Math.floor(midi / 12) - 1);

// ---- the view

const takes = []; // what can be played, in the order of the page
let current = null, side = "clip";

// The row that is given most controls is what one wants to see first; painting gives a part of the clip itself.
const controls = (row) => row.given.filter((name) => name !== "painting").length;
const first = data.rows.reduce((most, row) => (controls(row) > controls(most) ? row : most), data.rows[0]);

function view() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const row = asked.get("row");
  const known = row === "all" || data.rows.some((other) => other.name === row);
  const sort = data.columns.findIndex((column) => column.key === asked.get("sort"));
  return { row: known ? row : first.name, sort, best: asked.has("best"), find: asked.get("find") || "" };
}

function go(change, replace = false) {
  const now = view();
  const next = { row: now.row, sort: data.columns[now.sort]?.key, best: now.best, find: now.find, ...change };
  const hash = new URLSearchParams();
  for (const [name, value] of Object.entries(next)) if (value) hash.set(name, value === true ? "1" : value);
  history[replace ? "replaceState" : "pushState"](null, "", "#" + hash);
  show();
}

function mean(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

// Pieces of the view: each with its takes and the value it is sorted by.
function chosen({ row, sort, best, find }) {
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = row === "all" ? data.rows : data.rows.filter((other) => other.name === row);
  const pieces = new Map();
  for (const one of rows) {
    for (const clip of one.clips) {
      if (!pieces.has(clip.id)) pieces.set(clip.id, []);
      pieces.get(clip.id).push({ row: one, clip });
    }
  }
  const list = [...pieces].map(([id, entries]) => ({ id, entries, value: sort < 0 ? null : mean(entries.map(({ clip }) => clip.figures[sort])) }));
  const kept = list.filter(({ id }) => words.every((word) => (id + " " + data.pieces[id].caption).toLowerCase().includes(word)));
  if (sort >= 0) {
    const up = (data.columns[sort].higher_is_better !== false) !== best;
    kept.sort((a, b) => (a.value === null) - (b.value === null) || (up ? a.value - b.value : b.value - a.value));
  }
  return kept;
}

function show() {
  const now = view();
  const pieces = chosen(now);
  $("row").value = now.row;
  if ($("find") !== document.activeElement) $("find").value = now.find;
  for (const button of $("sorts").children) {
    const on = Number(button.dataset.column) === now.sort;
    button.setAttribute("aria-pressed", on);
    button.textContent = data.columns[button.dataset.column].title + (on ? (now.best ? " · best first" : " · worst first") : "");
  }
  takes.length = 0;
  near.disconnect();
  $("list").replaceChildren(...pieces.map((piece) => card(piece, now)));
  for (const take of takes) near.observe(take.lanesNode);
  const how = now.sort < 0 ? "" : `, by ${data.columns[now.sort].title}${now.row === "all" ? " (mean of the rows)" : ""}, ${now.best ? "best" : "worst"} first`;
  $("count").textContent = `${pieces.length} ${now.row === "all" ? "piece" : "clip"}${pieces.length === 1 ? "" : "s"}${how}`;
  const again = current && takes.find((take) => take.id === current.id && take.name === current.name);
  if (again) return select(again, false);
  audio.pause();
  current = null;
  $("player").hidden = true;
}

function card({ id, entries, value }, { row, sort }) {
  const piece = data.pieces[id];
  const all = row === "all";
  const rated = all && value !== null ? element("span", { class: "note" }, `mean ${number(value, data.columns[sort])}`) : null;
  const head = element("header", {}, element("h3", {}, piece.caption), rated, element("span", { class: "note" }, id));
  const node = element("article", { class: "card piece", "data-id": id }, head);
  const reference = { id, name: "reference", audio: null, seconds: piece.seconds, lanes: piece.lanes, given: Object.keys(piece.lanes), figures: null };
  if (all && piece.audio) node.append(take({ ...reference, reference: piece.audio }, { sort, all }));
  for (const { row: one, clip } of entries) node.append(take({ ...clip, name: one.name, reference: piece.audio }, { sort, all }));
  return node;
}

function take(entry, { sort, all }) {
  const own = entry.figures === null;
  const play = (which, title) =>
    element("button", { "data-side": which, title, onclick: () => toggle(entry, which) }, "▶ " + (own ? "play" : which));
  const others = () => go({ row: "all", find: entry.id, sort: undefined, best: undefined });
  entry.lanesNode = element("div", { class: "lanes", onclick: (event) => seek(entry, event) });
  entry.lanesNode.style.minHeight = `${height(entry)}px`;
  entry.node = element("div", { class: "take", tabindex: "-1" },
    element("div", { class: "bar" },
      all ? element("strong", {}, entry.name) : null,
      entry.audio ? play("clip", "What was generated") : null,
      entry.reference && (own || !all) ? play("reference", "The music that the conditions were taken from") : null,
      all || data.rows.length < 2 ? null : element("button", { title: "This piece under all conditions", onclick: others }, "all rows"),
      entry.from ? element("span", { class: "note" }, entry.from) : null,
      own ? null : element("span", { class: "figures" }, ...data.columns.flatMap((column, index) => figure(entry, column, index, sort)))),
    entry.lanesNode);
  entry.lanesNode.take = entry;
  takes.push(entry);
  return entry.node;
}

function figure(entry, column, index, sort) {
  const value = entry.figures[index];
  if (value === null && index !== sort) return [];
  return [element("span", { class: index === sort ? "sorted" : null }, column.title + " ", element("b", {}, number(value, column)))];
}

// ---- drawing, only of what is near the window

const near = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) isIntersecting ? draw(target.take) : target.replaceChildren();
}, { rootMargin: "600px 0px" });

function height(entry) {
  const lanes = Object.values(entry.lanes);
  return lanes.length ? lanes.reduce((sum, { kind }) => sum + LANES[kind] + GAP, AXIS) : 0;
}

const gutter = (width) => (width < NARROW ? 48 : 108);

function draw(entry) {
  const width = entry.lanesNode.clientWidth, wide = width >= NARROW, left = gutter(width), total = height(entry);
  if (!width || !total) return;
  const svg = shape(entry.lanesNode, "svg", { height: total, viewBox: `0 0 ${width} ${total}`, role: "img" });
  shape(svg, "title", {}, `${entry.name}: ${Object.keys(entry.lanes).join(", ")}, asked for and heard`);
  const x = (time) => left + (Math.min(time, entry.seconds) / entry.seconds) * (width - left - 1);
  let top = 0;
  for (const [name, lane] of Object.entries(entry.lanes)) {
    const given = entry.given.includes(name), high = LANES[lane.kind];
    const group = shape(svg, "g", { class: given ? "" : "not-given" });
    const middle = top + high / 2;
    const beside = given ? (lane.octaves === false ? "pitch class" : "") : "not given";
    if (wide || lane.kind !== "notes") { // where it is narrow, the names of the pitches take its place
      shape(group, "text", { x: 0, y: beside ? middle - 2 : middle + 4 }, name);
      if (beside) shape(group, "text", { x: 0, y: middle + 11, "font-size": 10 }, beside);
    }
    DRAW[lane.kind](group, lane, top, high, x, left, wide ? [given || !entry.reference ? "asked" : "reference", "heard"] : ["", ""]);
    top += high + GAP;
  }
  const step = [0.5, 1, 2, 5, 10, 30, 60].find((size) => (width - left) / (entry.seconds / size) > 46) || 120;
  for (let time = 0; time <= entry.seconds + 1e-6; time += step) {
    const anchor = time === 0 ? "start" : time + step > entry.seconds + 1e-6 && x(time) > width - 16 ? "end" : "middle";
    shape(svg, "text", { x: x(time), y: total - 3, "text-anchor": anchor }, time + step > entry.seconds + 1e-6 ? `${time} s` : `${time}`);
  }
  entry.lanesNode.replaceChildren(svg);
  if (entry === current) entry.lanesNode.append(head);
  move();
}

const box = (group, kind, x0, x1, y, high, hint) => {
  const node = shape(group, "rect", { class: kind, x: x0, y, width: Math.max(x1 - x0, 0.6), height: high, rx: Math.min(2, high / 3) });
  if (hint) shape(node, "title", {}, hint);
};

const DRAW = {
  labels(group, lane, top, high, x, left, said) {
    const half = high / 2 - 1;
    for (const [index, sideName] of ["asked", "heard"].entries()) {
      const y = top + index * (half + 2);
      shape(group, "text", { class: "side", x: left - 6, y: y + half / 2 + 4 }, said[index]);
      for (const [label, start, end, verdict] of lane[sideName]) {
        const hint = `${label}, ${start.toFixed(2)}–${end.toFixed(2)} s` + (verdict === undefined ? "" : `: ${VERDICTS[verdict]}`);
        box(group, `label-box ${sideName} ${verdict === undefined ? "" : "v" + verdict}`, x(start), x(end), y, half, hint);
      }
      for (const places of labelled(lane[sideName])) {
        const text = places[0][0];
        const fits = places.find(([, start, end]) => x(end) - x(start) > 6.4 * text.length + 4);
        if (fits) shape(group, "text", { class: "label", x: (x(fits[1]) + x(fits[2])) / 2, y: y + half / 2 + 4 }, text);
      }
    }
  },
  texts(group, lane, top, high, x, left, said) {
    shape(group, "text", { class: "side", x: left - 6, y: top + high / 2 + 4 }, said[0]);
    for (const [text, start, end] of lane.asked) {
      const room = Math.floor((x(end) - x(start) - 4) / 6.4);
      box(group, "label-box asked", x(start), x(end), top, high, `${text}, ${start.toFixed(2)}–${end.toFixed(2)} s`);
      if (room < 3) continue;
      const shown = text.length > room ? `${text.slice(0, room - 1)}…` : text;
      shape(group, "text", { class: "label", x: (x(start) + x(end)) / 2, y: top + high / 2 + 4 }, shown);
    }
  },
  notes(group, lane, top, high, x, left) {
    const pitches = lane.asked.map((note) => note[0]);
    const low = Math.min(...pitches) - 4, top_ = Math.max(...pitches) + 4, unit = high / (top_ - low + 1);
    const y = (midi) => top + (top_ - Math.min(Math.max(midi, low), top_)) * unit; // stray notes stand at the rim
    for (let midi = low + 1; midi < top_; midi++) {
      if (midi % 12 !== 0 && !(midi % 12 === 7 && top_ - low < 20)) continue;
      shape(group, "line", { class: "line", x1: left, x2: x(Infinity), y1: y(midi) + unit / 2, y2: y(midi) + unit / 2 });
      shape(group, "text", { class: "side", x: left - 6, y: y(midi) + unit / 2 + 4 }, pitchName(midi));
    }
    for (const [midi, start, end] of lane.asked) box(group, "asked", x(start), x(end), y(midi) - 1, unit + 2, `asked: ${pitchName(midi)}`);
    const thick = Math.max(2, unit * 0.55);
    for (const [midi, start, end, verdict] of lane.heard) {
      const hint = `${lane.octaves ? pitchName(midi) : SHARPS[midi % 12]}: ${VERDICTS[verdict]}`;
      box(group, `note-box v${verdict}`, x(start), x(end), y(midi) + (unit - thick) / 2, thick, hint);
    }
  },
  events(group, lane, top, high, x, left, said) {
    const middle = top + high / 2;
    shape(group, "line", { class: "line", x1: left, x2: x(Infinity), y1: middle, y2: middle });
    for (const [index, sideName] of ["asked", "heard"].entries()) {
      const sign = index ? 1 : -1;
      shape(group, "text", { class: "side", x: left - 6, y: middle + sign * 10 + 4 }, said[index]);
      const lines = ["", "", "", ""];
      for (const [time, verdict] of lane[sideName]) {
        const at = x(time).toFixed(1), end = middle + sign * (verdict === 1 ? 17 : 10), cross = middle + sign * 14;
        lines[verdict] += `M${at} ${middle}V${end}` + (verdict === 3 ? `m-2.5 ${cross - 2.5 - end}l5 5m-5 0l5 -5` : "");
      }
      for (const [verdict, path] of lines.entries()) if (path) shape(group, "path", { class: `tick v${verdict}`, d: path });
    }
  },
  curve(group, lane, top, high, x, left) {
    const bottom = top + high, at = (index) => x(index * lane.step).toFixed(1);
    const y = (value) => (bottom - ((Math.min(Math.max(value, lane.lowest), 6) - lane.lowest) / (6 - lane.lowest)) * high).toFixed(1);
    for (const value of [0, lane.lowest]) {
      shape(group, "line", { class: "line", x1: left, x2: x(Infinity), y1: +y(value), y2: +y(value) });
      shape(group, "text", { class: "side", x: left - 6, y: +y(value) + (value ? 0 : 8) }, `${value} dB`.replace("-", "−"));
    }
    let area = "", known = false; // each stretch that is asked for, closed along the bottom
    for (const [index, value] of lane.asked.entries()) {
      if (value === null) { if (known) area += `V${bottom}Z`; known = false; continue; }
      area += known ? `L${at(index)} ${y(value)}` : `M${at(index)} ${bottom}V${y(value)}`;
      known = true;
    }
    if (area) shape(group, "path", { class: "asked", d: area + (known ? `V${bottom}Z` : "") });
    const lines = ["", "", "", ""];
    for (const [index, [value, verdict]] of lane.heard.entries()) {
      const next = lane.heard[index + 1];
      if (next) lines[verdict] += `M${at(index)} ${y(value)}L${at(index + 1)} ${y(next[0])}`;
    }
    for (const [verdict, path] of lines.entries()) if (path) shape(group, "path", { class: `tick v${verdict}`, d: path });
  },
};

// A label is written once, whatever the verdicts over its time: each label's stretches, the longest first, and all of them together last.
function labelled(stretches) {
  const labels = [];
  for (const stretch of stretches) labels.at(-1)?.[0][0] === stretch[0] ? labels.at(-1).push(stretch) : labels.push([stretch]);
  return labels.map((parts) => {
    const whole = [parts[0][0], parts[0][1], parts.at(-1)[2]];
    return [...parts.sort((a, b) => b[2] - b[1] - (a[2] - a[1])), whole];
  });
}

// ---- playing

const audio = $("audio");
const head = element("div", { class: "head" });

function select(entry, scroll = true) {
  current?.node.classList.remove("current");
  current = entry;
  entry.node.classList.add("current");
  entry.lanesNode.append(head);
  if (!entry[side === "clip" ? "audio" : "reference"]) side = entry.audio ? "clip" : "reference";
  $("player").hidden = false;
  if (scroll) {
    entry.node.focus({ preventScroll: true });
    entry.node.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
  load();
  label();
}

// Gives the player the file of what is chosen; a change of sides keeps the moment.
function load(time = null) {
  const file = side === "clip" ? current.audio : current.reference;
  if (file && audio.getAttribute("src") !== file) audio.src = file;
  if (time !== null) audio.currentTime = time;
  move();
}

function label(problem = "") {
  if (!current) return;
  const title = current.audio ? (side === "clip" ? current.name : "reference") : "reference";
  $("playing").textContent = problem || `${title} · ${data.pieces[current.id].caption}`;
  $("side").hidden = !(current.audio && current.reference);
  $("side").textContent = side === "clip" ? "⇄ reference" : "⇄ clip";
  for (const button of document.querySelectorAll(".take button[data-side]")) {
    const on = current.node.contains(button) && button.dataset.side === side && !audio.paused;
    if (button.textContent.startsWith("❚❚") !== on) button.textContent = (on ? "❚❚ " : "▶ ") + button.textContent.split(" ").at(-1);
  }
}

function start() {
  audio.play().catch((error) => error.name !== "AbortError" && label(`cannot play ${audio.getAttribute("src")}: ${error.message}`));
}

function toggle(entry, which) {
  if (entry === current && which === side && !audio.paused) return audio.pause();
  const same = entry === current && which === side;
  side = which;
  select(entry);
  if (!same) load(0);
  start();
}

function swap() {
  if (!current?.audio || !current.reference) return;
  const time = audio.currentTime, going = !audio.paused;
  side = side === "clip" ? "reference" : "clip";
  load(time);
  label();
  if (going) start();
}

function seek(entry, event) {
  const bounds = entry.lanesNode.getBoundingClientRect(), left = gutter(bounds.width);
  const time = ((event.clientX - bounds.left - left) / (bounds.width - left - 1)) * entry.seconds;
  if (entry !== current) select(entry);
  load(Math.max(0, Math.min(time, entry.seconds - 0.05)));
  start();
}

function move() {
  if (!current) return;
  const width = current.lanesNode.clientWidth, left = gutter(width);
  head.style.transform = `translateX(${left + (Math.min(audio.currentTime, current.seconds) / current.seconds) * (width - left - 1)}px)`;
}

function follow() {
  move();
  if (!audio.paused) requestAnimationFrame(follow);
}

function step(by) {
  const at = current ? takes.indexOf(current) : -1;
  const next = takes[at < 0 ? 0 : Math.min(Math.max(at + by, 0), takes.length - 1)];
  if (!next || next === current) return;
  const going = !audio.paused;
  select(next);
  load(0);
  if (going) start();
}

// ---- wiring

for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, () => (label(), follow()));
for (const name of ["seeked", "timeupdate"]) audio.addEventListener(name, move);
audio.addEventListener("error", () => label(`cannot play ${audio.getAttribute("src")}`));
$("side").addEventListener("click", swap);
$("row").append(...data.rows.map(({ name }) => element("option", { value: name }, name)), element("option", { value: "all" }, "all rows of each piece"));
$("row").addEventListener("change", () => go({ row: $("row").value }));
$("find").addEventListener("input", () => go({ find: $("find").value.trim() }, true));
$("sorts").append(...data.columns.map((column, index) => element("button", { "data-column": index, onclick: (event) => {
  const now = view(), again = now.sort === index;
  go({ sort: again && now.best ? undefined : column.key, best: again && !now.best }); // worst first, best first, as it was
  if (event.detail) event.currentTarget.blur(); // a click leaves the space bar to the player
} })));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, audio")) return;
  const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (by) step(by);
  else if (event.key === " " && !event.target.closest("button, a, summary") && takes.length) current ? toggle(current, side) : toggle(takes[0], takes[0].audio ? "clip" : "reference");
  else if (event.key.toLowerCase() === "r") swap();
  else return;
  event.preventDefault();
});
let wait = 0;
window.addEventListener("resize", () => {
  clearTimeout(wait);
  wait = setTimeout(() => takes.filter((entry) => entry.lanesNode.firstChild).forEach(draw), 150);
});
window.addEventListener("popstate", () => location.hash.startsWith("#reason") || show());
for (const link of document.querySelectorAll('.summary a[href^="#row"]')) link.addEventListener("click", () => setTimeout(() => $("clips").scrollIntoView()));
if (data.rows.length) {
  $("clips").hidden = false;
  show();
}

// Lanes of what was asked for over what is heard, drawn as SVG: for every page that shows clips. A page that uses this has a pattern #hatch.
"use strict";
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

const pitchName = (midi) => SHARPS[midi % 12] + (Math.floor(midi / 12) - 1);
const gutter = (width) => (width < NARROW ? 48 : 108);

function lanesHeight(entry) {
  const lanes = Object.values(entry.lanes);
  return lanes.length ? lanes.reduce((sum, { kind }) => sum + LANES[kind] + GAP, AXIS) : 0;
}

// Draws an entry's lanes {name: as `Lane.judged` writes it} into a node of its width; false where there is nothing to draw or no room.
function drawLanes(node, entry) {
  const width = node.clientWidth, wide = width >= NARROW, left = gutter(width), total = lanesHeight(entry);
  if (!width || !total) return false;
  const svg = shape(node, "svg", { height: total, viewBox: `0 0 ${width} ${total}`, role: "img" });
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
  node.replaceChildren(svg);
  return true;
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

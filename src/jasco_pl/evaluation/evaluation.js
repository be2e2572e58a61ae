// The clips of an evaluation: chosen, sorted, filtered, drawn and played. The state of the view stands in the address after #:
// row (a name, or "all" for every row of a piece beside each other), sort (a column's key), best=1 for best first, find (words).
const data = JSON.parse(document.getElementById("data").textContent);
const number = (value, column) => (value === null ? "–" : value.toFixed(column.digits ?? 3));

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
  entry.lanesNode.style.minHeight = `${lanesHeight(entry)}px`;
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

function draw(entry) {
  if (!drawLanes(entry.lanesNode, entry)) return;
  if (entry === current) entry.lanesNode.append(head);
  move();
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

// The view "Map": a point for each video, drawn by its first label or by the cluster of its code.

import { $, count, fault, make, makeSvg, say } from "./dom.js";
import { ask, at } from "./http.js";
import { alike } from "./search.js";
import { details, facts, screen } from "./videos.js";

const MARGIN = 26;
const NEAR = 12; // pixels around a point that count as the same place
const MOST_HERE = 24;
const SHAPES = ["circle", "square", "triangle", "diamond"];
const canvas = $("map");
let about = null;
let map = null;
let places = [];
let chosen = -1;
let muted = new Set();
let wanted = null; // what somebody has chosen to colour by
let kinds = []; // of the points: the labels or the clusters, by number

export function start(known) {
  if (map && map.index.version !== known.index.version) map = null;
  about = known;
}

export async function show() {
  if (!map) {
    try {
      map = await ask("/map");
    } catch (problem) {
      fault(problem.message);
      return;
    }
    chosen = -1;
    list([]);
    colourBy();
    $("map-note").textContent = map.ids.length < map.index.videos
      ? `${count(map.ids.length, "video")} of ${map.index.videos.toLocaleString("en")}, evenly chosen.`
      : "";
  }
  draw();
}

// By clusters where there are no labels, or somebody wants them.
function colourBy() {
  const select = $("colour-by");
  const labelled = map.label.some((label) => label >= 0);
  select.options[0].disabled = !labelled;
  select.value = labelled ? wanted ?? "label" : "cluster";
  kinds = map[select.value];
  muted = new Set();
  $("legend-title").textContent = select.value === "label" ? "Labels" : "Clusters";
  $("legend-note").hidden = select.value === "label";
  legend();
}

function kindName(kind) {
  if ($("colour-by").value === "cluster") return `cluster ${kind + 1}`;
  return kind < 0 ? "no label" : map.labels[kind];
}

// Hues by the golden angle, so that neighbours in the list are far apart; shapes for whoever does not see hues.
const style = (kind) => kind < 0
  ? { hue: 0, saturation: 0, shape: "circle" }
  : { hue: (kind * 137.5 + 190) % 360, saturation: 62, shape: SHAPES[kind % SHAPES.length] };
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = ({ hue, saturation }, alpha = 1) => `hsl(${hue} ${saturation}% ${dark.matches ? 64 : 40}% / ${alpha})`;

function points(shape, x, y, size) {
  if (shape === "square") {
    return [[x - size, y - size], [x + size, y - size], [x + size, y + size], [x - size, y + size]];
  }
  if (shape === "triangle") return [[x, y - size * 1.25], [x + size * 1.15, y + size], [x - size * 1.15, y + size]];
  return [[x, y - size * 1.35], [x + size * 1.35, y], [x, y + size * 1.35], [x - size * 1.35, y]];
}

function trace(context, shape, x, y, size) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, size, 0, 2 * Math.PI);
  else {
    points(shape, x, y, size).forEach(([px, py], number) => (number ? context.lineTo(px, py) : context.moveTo(px, py)));
    context.closePath();
  }
}

function draw() {
  if (!map || !canvas.clientWidth) return;
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const range = (values) => [Math.min(0, ...chunked(values, Math.min)), Math.max(0, ...chunked(values, Math.max))];
  const [left, right] = range(map.x);
  const [low, high] = range(map.y);
  const scale = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (high - low || 1));
  places = map.x.map((x, number) => [
    width / 2 + (x - (left + right) / 2) * scale,
    height / 2 - (map.y[number] - (low + high) / 2) * scale,
  ]);
  const size = map.ids.length > 4000 ? 2.5 : map.ids.length > 800 ? 3.5 : 5;
  places.forEach(([x, y], number) => {
    const look = style(kinds[number]);
    trace(context, look.shape, x, y, size);
    context.fillStyle = colour(look, muted.has(kinds[number]) ? 0.08 : 0.7);
    context.fill();
  });
  if (chosen >= 0) {
    const [x, y] = places[chosen];
    trace(context, "circle", x, y, size + 6);
    context.lineWidth = 2.5;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.stroke();
  }
}

// A call takes only so many arguments.
function chunked(values, pick) {
  const found = [];
  for (let start = 0; start < values.length; start += 10000) found.push(pick(...values.slice(start, start + 10000)));
  return found;
}

function legend() {
  const counts = new Map();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const items = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 40).map(([kind, videos]) => {
    const look = style(kind);
    const mark = makeSvg("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" },
      look.shape === "circle"
        ? makeSvg("circle", { r: 5.5, fill: colour(look) })
        : makeSvg("polygon", { points: points(look.shape, 0, 0, 5).join(" "), fill: colour(look) }));
    const button = make(
      "button",
      { type: "button", "aria-pressed": String(!muted.has(kind)) },
      mark,
      make("span", {}, kindName(kind)),
      make("span", { className: "number" }, String(videos)),
    );
    button.addEventListener("click", () => {
      if (muted.has(kind)) muted.delete(kind);
      else muted.add(kind);
      button.setAttribute("aria-pressed", String(!muted.has(kind)));
      draw();
    });
    return make("li", {}, button);
  });
  $("legend").replaceChildren(...items);
}

async function choose(number) {
  chosen = number;
  draw();
  const [x, y] = places[number];
  const around = places
    .map(([px, py], other) => [Math.hypot(px - x, py - y), other])
    .filter(([distance, other]) => distance <= NEAR && !muted.has(kinds[other]))
    .sort((one, other) => one[0] - other[0]);
  say(`${map.ids[number]}, ${kindName(kinds[number])}${around.length > 1 ? `, with ${count(around.length - 1, "other")} at this place` : ""}.`);
  const ids = around.slice(0, MOST_HERE).map(([, other]) => map.ids[other]);
  const found = await Promise.all(ids.map((id) => ask(at("videos", id)).then((known) => known.video, () => null)));
  if (number === chosen) list(found.filter(Boolean));
}

function list(videos) {
  $("here-none").hidden = videos.length > 0;
  $("here").replaceChildren(...videos.map((video) => {
    const open = screen(video, `Open ${video.id}`);
    open.addEventListener("click", () => details(video, about.index.bits, alike));
    return make("li", {}, open, make("div", {}, make("p", { className: "name" }, video.id), facts(video)));
  }));
}

function nearestTo(x, y) {
  let best = -1;
  let least = 24;
  places.forEach(([px, py], number) => {
    const distance = Math.hypot(px - x, py - y);
    if (distance < least && !muted.has(kinds[number])) [least, best] = [distance, number];
  });
  return best;
}

canvas.addEventListener("click", (event) => {
  const number = nearestTo(event.offsetX, event.offsetY);
  if (number >= 0) choose(number);
});
canvas.addEventListener("pointermove", (event) => {
  const number = nearestTo(event.offsetX, event.offsetY);
  canvas.title = number >= 0 ? map.ids[number] : "";
  canvas.classList.toggle("over", number >= 0);
});

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", async (event) => {
  if (!map || !places.length) return;
  if (event.key === "Enter" && chosen >= 0) {
    const known = await ask(at("videos", map.ids[chosen])).catch(() => null);
    if (known) details(known.video, about.index.bits, alike);
    return;
  }
  const way = WAYS[event.key];
  if (!way) return;
  event.preventDefault();
  if (chosen < 0) {
    choose(0);
    return;
  }
  const [x, y] = places[chosen];
  let best = -1;
  let least = Infinity;
  places.forEach(([px, py], number) => {
    const ahead = (px - x) * way[0] + (py - y) * way[1];
    const aside = Math.abs((px - x) * way[1]) + Math.abs((py - y) * way[0]);
    if (ahead <= 0.5 || aside > 3 * ahead || muted.has(kinds[number])) return;
    const cost = ahead + 2 * aside;
    if (cost < least) [least, best] = [cost, number];
  });
  if (best >= 0) choose(best);
});
$("colour-by").addEventListener("change", () => {
  wanted = $("colour-by").value;
  if (!map) return;
  colourBy();
  draw();
  say(`Coloured by ${wanted}: ${count(new Set(kinds).size, wanted)}.`);
});
new ResizeObserver(draw).observe(canvas);
dark.addEventListener("change", () => { if (map) { legend(); draw(); } });

// The view "Map": a point for each video, drawn by its first label.

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
    muted = new Set();
    legend();
    list([]);
    $("map-note").textContent = map.ids.length < map.index.videos
      ? `${count(map.ids.length, "video")} of ${map.index.videos.toLocaleString("en")}, evenly chosen.`
      : "";
  }
  draw();
}

// Hues by the golden angle, so that neighbours in the list are far apart; shapes for whoever does not see hues.
const style = (label) => label < 0
  ? { hue: 0, saturation: 0, shape: "circle" }
  : { hue: (label * 137.5 + 190) % 360, saturation: 62, shape: SHAPES[label % SHAPES.length] };
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
    const look = style(map.label[number]);
    trace(context, look.shape, x, y, size);
    context.fillStyle = colour(look, muted.has(map.label[number]) ? 0.08 : 0.7);
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
  for (const label of map.label) counts.set(label, (counts.get(label) ?? 0) + 1);
  const items = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 40).map(([label, videos]) => {
    const look = style(label);
    const mark = makeSvg("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" },
      look.shape === "circle"
        ? makeSvg("circle", { r: 5.5, fill: colour(look) })
        : makeSvg("polygon", { points: points(look.shape, 0, 0, 5).join(" "), fill: colour(look) }));
    const button = make(
      "button",
      { type: "button", "aria-pressed": String(!muted.has(label)) },
      mark,
      make("span", {}, label < 0 ? "no label" : map.labels[label]),
      make("span", { className: "number" }, String(videos)),
    );
    button.addEventListener("click", () => {
      if (muted.has(label)) muted.delete(label);
      else muted.add(label);
      button.setAttribute("aria-pressed", String(!muted.has(label)));
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
    .filter(([distance, other]) => distance <= NEAR && !muted.has(map.label[other]))
    .sort((one, other) => one[0] - other[0]);
  say(`${map.ids[number]}${around.length > 1 ? `, with ${count(around.length - 1, "other")} at this place` : ""}.`);
  const wanted = number;
  const ids = around.slice(0, MOST_HERE).map(([, other]) => map.ids[other]);
  const found = await Promise.all(ids.map((id) => ask(at("videos", id)).then((known) => known.video, () => null)));
  if (wanted === chosen) list(found.filter(Boolean));
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
    if (distance < least && !muted.has(map.label[number])) [least, best] = [distance, number];
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
    if (ahead <= 0.5 || aside > 3 * ahead || muted.has(map.label[number])) return;
    const cost = ahead + 2 * aside;
    if (cost < least) [least, best] = [cost, number];
  });
  if (best >= 0) choose(best);
});
new ResizeObserver(draw).observe(canvas);
dark.addEventListener("change", () => { if (map) { legend(); draw(); } });

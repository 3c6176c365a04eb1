// The view "Duplicates": pairs side by side, decided about by mouse or keyboard.
// Keys count while the review has the focus.

import { $, count, fault, make, say, secondsText } from "./dom.js";
import { ask, change, thumbnail } from "./http.js";
import { alike } from "./search.js";
import { details, facts, player, strip } from "./videos.js";

const PAGE = 20;
let about = null;
let radius = 3;
let total = 0;
let groups = new Map(); // by place
let place = 0; // of the group
let pair = 0; // of its candidates

export function start(known) {
  if (about && about.index.version !== known.index.version) groups = new Map();
  about = known;
  $("radius").max = known.index.bits;
}

export async function show() {
  if (!groups.size) await regroup();
  else draw();
}

async function regroup() {
  groups = new Map();
  place = pair = 0;
  say("Comparing all codes …");
  if (!(await load(0))) return;
  say("");
  // Where somebody has left off.
  for (const [number, group] of groups) {
    const open = group.candidates.findIndex((video) => video.decision === null);
    if (open < 0) continue;
    [place, pair] = [number, open];
    break;
  }
  draw();
}

// Make sure that a group is there; false if it can't be had.
async function load(number) {
  if (groups.has(number)) return true;
  const wanted = radius;
  try {
    const offset = Math.floor(number / PAGE) * PAGE;
    const answer = await ask(`/duplicates?${new URLSearchParams({ radius, offset, count: PAGE })}`);
    if (wanted !== radius) return false; // somebody has asked for another one meanwhile
    fault("");
    total = answer.total;
    answer.groups.forEach((group, place) => groups.set(offset + place, group));
    $("groups-said").textContent = total
      ? `${count(answer.videos, "video")} of ${answer.index.videos.toLocaleString("en")} are in ${count(total, "group")}. ` +
        "Each other video of a group is compared with its first one. Groups are candidates, not verdicts."
      : `No two videos are at most ${count(radius, "bit")} apart.`;
    return true;
  } catch (problem) {
    say("");
    fault(problem.message);
    return false;
  }
}

function draw() {
  const group = groups.get(place);
  $("review").hidden = !group;
  if (!group) return;
  const candidate = group.candidates[pair];
  $("pair-title").textContent = `Group ${place + 1} of ${total}, pair ${pair + 1} of ${group.candidates.length}`;
  const bits = about.index.bits;
  const apart = candidate.distance === 1 ? " bit apart" : " bits apart";
  $("pair-bits").replaceChildren(
    make("span", {}, make("strong", {}, String(candidate.distance)), apart),
    strip(candidate.code, bits, group.first.code),
  );
  side($("side-first"), group.first, "First of the group");
  side($("side-candidate"), candidate, "Compared with it");
  $("is-duplicate").setAttribute("aria-pressed", String(candidate.decision === "duplicate"));
  $("no-duplicate").setAttribute("aria-pressed", String(candidate.decision === "not a duplicate"));
  $("undecided").disabled = candidate.decision === null;
  $("strip").replaceChildren(...group.candidates.map((video, number) => {
    const mark = { duplicate: "✓", "not a duplicate": "✕" }[video.decision] ?? "";
    const button = make(
      "button",
      {
        type: "button",
        className: video.decision === "duplicate" ? "yes" : mark ? "no" : "",
        "aria-label": `${video.id}, ${video.decision ?? "not decided"}`,
      },
      make("img", { src: thumbnail(video), alt: "", loading: "lazy" }), make("span", { className: "mark" }, mark));
    if (number === pair) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => { pair = number; draw(); });
    return make("li", {}, button);
  }));
  const view = $("view-duplicates");
  if (!view.hidden && !view.querySelector("input:focus") && !document.querySelector("dialog[open]")) {
    $("review").focus({ preventScroll: true });
  }
  const list = $("strip");
  const current = list.querySelector("[aria-current]"); // only sideways: the page stays where it is
  list.scrollLeft = current.offsetLeft - list.offsetLeft - (list.clientWidth - current.clientWidth) / 2;
}

function side(figure, video, role) {
  const title = make("button", { type: "button", className: "name", "aria-label": `Open ${video.id}` }, video.id);
  title.addEventListener("click", () => details(video, about.index.bits, alike));
  figure.replaceChildren(
    make("p", { className: "role" }, role),
    make("div", { className: "big-screen" }, player(video, { "aria-label": `video ${video.id}` })),
    make("figcaption", {}, title, facts(video)),
  );
}

async function toGroup(step) {
  const next = place + step;
  if (next < 0 || next >= total || !(await load(next))) return false;
  [place, pair] = [next, 0];
  draw();
  return true;
}

async function toPair(step) {
  const group = groups.get(place);
  const next = pair + step;
  if (next >= 0 && next < group.candidates.length) {
    pair = next;
    draw();
  } else if (await toGroup(step)) {
    pair = step < 0 ? groups.get(place).candidates.length - 1 : 0;
    draw();
  } else say(step < 0 ? "This is the first pair." : "This is the last pair.");
}

async function decide(decision) {
  const group = groups.get(place);
  const candidate = group.candidates[pair];
  try {
    await change("/duplicates/decisions", {
      method: "PUT",
      body: JSON.stringify({ first: group.first.id, second: candidate.id, decision }),
      headers: { "Content-Type": "application/json" },
    });
  } catch (problem) {
    fault(problem.message);
    $("review").focus({ preventScroll: true });
    return;
  }
  fault("");
  candidate.decision = decision;
  if (decision === null) draw();
  else await toPair(1);
  say(`${candidate.id}: ${decision ?? "not decided"}. ${$("pair-title").textContent}.`);
}

function playOrPause() {
  const videos = [...$("review").querySelectorAll("video")];
  const playing = videos.some((video) => !video.paused);
  for (const video of videos) playing ? video.pause() : video.play();
}

const KEYS = {
  d: () => decide("duplicate"),
  x: () => decide("not a duplicate"),
  u: () => decide(null),
  ArrowLeft: () => toPair(-1),
  ArrowRight: () => toPair(1),
  ArrowUp: () => toGroup(-1),
  ArrowDown: () => toGroup(1),
  " ": playOrPause,
};
let busy = Promise.resolve();
// One after the other, however fast keys come.
function queue(work) {
  busy = busy.then(work).catch((problem) => fault(problem.message));
}
$("review").addEventListener("keydown", (event) => {
  const work = KEYS[event.key];
  const pressed = event.key === " " && event.target.tagName === "BUTTON"; // space is the button's then
  if (!work || pressed || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  queue(work);
});
for (const [name, key] of Object.entries({
  "is-duplicate": "d", "no-duplicate": "x", undecided: "u",
  "pair-before": "ArrowLeft", "pair-after": "ArrowRight", "group-before": "ArrowUp", "group-after": "ArrowDown",
})) $(name).addEventListener("click", () => queue(KEYS[key]));
$("radius-form").addEventListener("submit", (event) => {
  event.preventDefault();
  radius = Number($("radius").value || 0);
  regroup();
});

// The view "Search": what is asked, the filters, and what was found.

import { $, count, debounced, fault, make, say, secondsText } from "./dom.js";
import { ask, change } from "./http.js";
import { card, onRemoved, strip } from "./videos.js";

const PAGE = 24;
let about = null;
let query = null; // {id} or {file}; null shows all videos
let shown = 0;
let answered = {}; // what the cards that are shown were asked by, and a search's answer
let running = new AbortController();

export function start(known) {
  about = known;
  const limits = about.limits;
  $("clip-limits").textContent = about.takes_clips
    ? `up to ${limits.megabytes} MB and ${secondsText(limits.seconds)}; it is not kept`
    : `not with this index: ${about.no_clips}`;
  $("clip").disabled = !about.takes_clips;
  for (const place of ["label", "label-names"]) {
    const first = place === "label" ? [make("option", { value: "" }, "all labels")] : [];
    const before = $(place).value;
    const text = (one) => (place === "label" ? `${one.label} (${one.videos})` : one.label);
    const options = about.labels.map((one) => make("option", { value: one.label }, text(one)));
    $(place).replaceChildren(...first, ...options);
    if (before) $(place).value = before;
  }
  const slider = $("max-distance");
  const all = slider.value === slider.max;
  slider.max = about.index.bits;
  if (all) slider.value = slider.max;
  $("moments-choice").hidden = !about.films;
  sayDistance();
}

const bits = () => about.index.bits;

function filters() {
  const params = new URLSearchParams();
  for (const name of ["label", "min-seconds", "max-seconds"]) {
    if ($(name).value !== "") params.set(name.replace("-", "_"), $(name).value);
  }
  if (query && $("max-distance").value !== $("max-distance").max) params.set("max_distance", $("max-distance").value);
  if (query && $("rerank").value) params.set("rerank", $("rerank").value);
  if (query && $("moments").checked) params.set("group", "none");
  return params;
}

function sayDistance() {
  const slider = $("max-distance");
  const all = slider.value === slider.max;
  $("max-distance-said").textContent = all ? "any distance" : count(Number(slider.value), "bit");
  slider.disabled = query === null;
  $("rerank").disabled = $("moments").disabled = query === null;
}

// With `more`, what is shown stays and more comes; what was asked otherwise meanwhile begins anew.
export async function run({ more: wantsMore = false } = {}) {
  running.abort();
  const mine = (running = new AbortController());
  fault("");
  sayDistance();
  const params = filters();
  const question = { query, filters: params.toString() };
  const more = wantsMore && query === answered.query && question.filters === answered.filters;
  const before = more ? shown : 0;
  $("results").setAttribute("aria-busy", "true");
  try {
    if (query === null) {
      params.set("offset", before);
      params.set("count", PAGE);
      const answer = await ask(`/videos?${params}`, { signal: mine.signal });
      show(answer.videos, null, before);
      answered = question;
      const some = ["label", "min_seconds", "max_seconds"].some((name) => params.has(name));
      $("results-title").textContent = some ? "Some videos" : "All videos";
      $("more").hidden = shown >= answer.total;
      say(`${count(answer.total, "video")}, ${shown} shown.`);
      return;
    }
    const most = about.most_hits;
    const wanted = Math.min(before + PAGE, most);
    params.set("count", Math.min(wanted + 1, most)); // one too many says that there are more
    const answer = await (query.file ? askForClip(params, mine.signal) : post(params, { id: query.id, start: query.start ?? 0 }, mine.signal));
    const hits = answer.hits.slice(0, wanted);
    // Those before may be others by now: the index has changed, or more videos were compared frame by frame.
    const same = more && JSON.stringify([answer.query.code, hits.slice(0, before)]) === answered.hits;
    show(same ? hits.slice(before) : hits, answer.query, same ? before : 0);
    answered = { ...question, hits: JSON.stringify([answer.query.code, hits]) };
    if (!more && answer.query.kind !== "code") showAsked(answer.query);
    $("more").hidden = answer.hits.length <= wanted;
    $("results-title").textContent = `Nearest to ${query.id ?? query.file.name}`;
    const milliseconds = Math.max(1, Math.round(answer.seconds * 1000));
    const end = hits.length === most ? " More than these are not shown." : "";
    say(`${found(hits)} of ${count(answer.index.videos, "video")}, in ${milliseconds} ms, by index version ${answer.index.version}.${end}`);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    say("");
    fault(problem.message);
  } finally {
    if (mine === running) $("results").removeAttribute("aria-busy");
  }
}

function found(hits) {
  const videos = count(new Set(hits.map((hit) => hit.id)).size, "video");
  return $("moments").checked ? `${count(hits.length, "moment")} in ${videos}` : videos;
}

// The focus goes to the first card that is new, from where a reader goes on, unless it is elsewhere by now.
async function showMore() {
  const before = shown;
  const title = $("results-title").textContent;
  await run({ more: true });
  const focused = document.activeElement;
  if (focused !== $("more") && focused !== document.body) return;
  if (shown > before && title === $("results-title").textContent) $("results").children[before].focus();
}

const JSON_TYPE = { "Content-Type": "application/json" };
const FILE_TYPE = { "Content-Type": "application/octet-stream" };

const post = (params, question, signal) =>
  ask(`/search?${params}`, { method: "POST", body: JSON.stringify(question), headers: JSON_TYPE, signal });

// A clip is sent once; after that its code will do, unless the index has another hasher by now, or more than that code is compared.
async function askForClip(params, signal) {
  const asked = query;
  if (asked.coded && !about.films && !params.has("rerank")) {
    try {
      return await post(params, asked.coded, signal);
    } catch (problem) {
      if (problem.status !== 409) throw problem;
    }
  }
  say(`Looking at ${asked.file.name} …`);
  const answer = await ask(`/search?${params}`, { method: "POST", body: asked.file, headers: FILE_TYPE, signal });
  asked.coded = { code: answer.query.code, hasher: answer.index.hasher.sha256 };
  return answer;
}

// Show cards; the first ones that are there stay.
function show(videos, asked, stay) {
  const cards = videos.map((video) => card(video, bits(), asked, alike, about.scores_frames));
  $("results").replaceChildren(...[...$("results").children].slice(0, stay), ...cards);
  shown = stay + videos.length;
  if (!shown) $("results").append(make("li", { className: "nothing" }, "No video is like that."));
}

function showAsked(asked) {
  const name = query.id ?? query.file.name;
  const parts = [make("h2", {}, name)];
  if (query.file) parts.unshift(query.player);
  if (asked.kind === "clip") {
    const facts = [secondsText(asked.seconds), count(asked.frames, "frame")];
    parts.push(make("p", { className: "facts" }, ...facts.map((text) => make("span", {}, text))));
  }
  parts.push(strip(asked.code, bits()));
  if (asked.remark) parts.push(make("p", { className: "hint" }, asked.remark));
  if (query.file) {
    const add = make("button", { type: "button" }, "Add it to the index …");
    add.addEventListener("click", () => adding(query.file));
    parts.push(add);
  }
  $("asked").replaceChildren(...parts);
  $("asked").hidden = false;
}

export function alike(video) {
  location.hash = "#search";
  query = { id: video.id, start: video.start };
  $("pick").value = video.id;
  run().then(() => $("results-title").focus());
}

function take(file) {
  if (!file) return;
  const limit = about.limits.megabytes;
  if (file.size > limit * 1e6) {
    fault(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; allowed are ${limit} MB.`);
    return;
  }
  const properties = { muted: true, loop: true, autoplay: true, playsInline: true };
  const player = make("video", { ...properties, "aria-label": "the clip" });
  player.src = URL.createObjectURL(file);
  player.addEventListener("error", () => player.remove());
  query = { file, player };
  $("pick").value = "";
  run().then(showResults);
}

// On a small screen they are below what was asked.
function showResults() {
  const title = $("results-title");
  if (title.getBoundingClientRect().top > 0.8 * innerHeight) title.scrollIntoView({ block: "start" });
}

function adding(file) {
  $("adding-id").value = file.name.replace(/\.[^.]*$/, "");
  $("adding-label").value = "";
  $("adding").showModal();
  $("adding-form").onsubmit = async (event) => {
    event.preventDefault();
    const params = new URLSearchParams({ id: $("adding-id").value });
    if ($("adding-label").value) params.set("label", $("adding-label").value);
    $("adding").close();
    try {
      say(`Adding ${params.get("id")} …`);
      const sent = change(`/videos?${params}`, { method: "POST", body: file, headers: FILE_TYPE });
      const answer = await sent.finally(watchFilm(params.get("id")));
      await run();
      say(`${answer.id} was added; the index has ${count(answer.index.videos, "video")} now.`);
    } catch (problem) {
      say("");
      fault(problem.message);
    }
  };
}

// Says how much of a film is cut while it is added, which may take minutes; returns what ends that.
function watchFilm(id) {
  let ended = false;
  const timer = setInterval(async () => {
    const answer = await ask("/additions").catch(() => null);
    const film = answer?.films.find((one) => one.id === id);
    if (film && !ended) say(`Adding ${id} … ${Math.floor(100 * film.share)} % of it is cut.`);
  }, 1000);
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

$("clip").addEventListener("change", () => take($("clip").files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && about?.takes_clips) {
      location.hash = "#search";
      take(event.dataTransfer.files[0]);
    }
  });
}

const suggest = debounced(async () => {
  const text = $("pick").value;
  const answer = await ask(`/videos?${new URLSearchParams({ text, count: 20 })}`).catch(() => null);
  if (!answer) return;
  $("picks").replaceChildren(...answer.videos.map((video) => make("option", { value: video.id })));
  if (answer.videos.some((video) => video.id === text) && query?.id !== text) {
    query = { id: text };
    run().then(showResults);
  }
}, 200);
$("pick").addEventListener("input", suggest);
$("query").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("pick").value) {
    query = { id: $("pick").value };
    run().then(showResults);
  }
});
const again = debounced(run);
for (const name of ["label", "min-seconds", "max-seconds", "max-distance", "rerank", "moments"]) {
  $(name).addEventListener("input", () => { sayDistance(); again(); });
}
$("query").addEventListener("reset", () => setTimeout(() => {
  query = null;
  $("asked").hidden = true;
  $("max-distance").value = $("max-distance").max;
  run();
}));
$("more").addEventListener("click", showMore);
onRemoved(() => run());

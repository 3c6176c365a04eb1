// Videos as cards and in a dialog: a picture that plays, facts, and the code as a strip of bits.

import { $, clock, count, fault, make, makeSvg, say, secondsText, terms } from "./dom.js";
import { ask, at, change, highestScored, isMoment, preview, thumbnail } from "./http.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

// Bits of a code in hexadecimal digits; bit i stands in byte i // 8 at the value 2 ** (i % 8).
function bitsOf(code, bits) {
  const byte = (number) => parseInt(code.slice(2 * number, 2 * number + 2), 16);
  return Array.from({ length: bits }, (_, bit) => (byte(bit >> 3) >> (bit & 7)) & 1);
}

// The code as a strip; bits that differ from `other` are marked.
export function strip(code, bits, other = null) {
  const mine = bitsOf(code, bits);
  const theirs = other === null ? mine : bitsOf(other, bits);
  const differ = mine.filter((bit, place) => bit !== theirs[place]).length;
  const said = other === null ? `code of ${bits} bits` : `${differ} of ${bits} bits differ`;
  const cells = mine.map((bit, place) =>
    makeSvg("rect", {
      x: place, y: bit ? 0 : 5, width: 0.8, height: bit ? 10 : 5,
      class: bit === theirs[place] ? "same" : "differs",
    }),
  );
  const look = { viewBox: `0 0 ${bits} 10`, preserveAspectRatio: "none", class: "strip-of-bits" };
  return makeSvg("svg", { ...look, role: "img", "aria-label": said }, ...cells);
}

// A picture that plays while it is pointed at or focused: the file, or moving frames where the browser can't play it.
export function screen(video, label) {
  const picture = make("img", { src: thumbnail(video), alt: "", loading: "lazy", decoding: "async" });
  const button = make("button", { type: "button", className: "screen", "aria-label": label }, picture);
  picture.addEventListener("error", () => {
    button.classList.add("no-file");
    picture.replaceWith(make("span", {}, "no picture"));
  });
  const play = () => {
    if (still.matches || button.classList.contains("no-file") || button.querySelector(".playing")) return;
    button.append(player(video, { className: "playing" }));
  };
  const stop = () => {
    if (!button.matches(":hover, :focus-visible")) button.querySelector(".playing")?.remove();
  };
  button.addEventListener("pointerenter", play);
  button.addEventListener("focus", play);
  button.addEventListener("pointerleave", stop);
  button.addEventListener("blur", stop);
  return button;
}

export function player(video, properties = {}) {
  const silent = { muted: true, loop: true, autoplay: !still.matches, playsInline: true };
  const element = make("video", { ...silent, ...properties });
  element.addEventListener("error", () => {
    const moving = make("img", { src: preview(video), alt: `frames of ${video.id}` });
    moving.className = element.className;
    moving.addEventListener("error", () => moving.replaceWith(make("span", { className: "no-picture" }, "no picture")));
    element.replaceWith(moving);
  });
  if (isMoment(video)) playMoment(element, video);
  element.src = at("files", video.id);
  return element;
}

// From where it was found on; with controls on to the end, without them the moment again and again.
function playMoment(element, video) {
  element.addEventListener("loadedmetadata", () => { element.currentTime = video.start; });
  if (element.controls) return;
  element.addEventListener("timeupdate", () => {
    if (element.currentTime >= video.end) element.currentTime = video.start;
  });
}

// The number of frames stands in the file, not in the index, so that it is asked for once a card is seen.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    ask(at("videos", entry.target.dataset.id)).then(
      (known) => { if (known.file) entry.target.textContent = count(known.file.frames, "frame"); },
      () => {},
    );
  }
});

export function frames(video) {
  const element = make("span", { className: "frames" });
  element.dataset.id = video.id;
  seen.observe(element);
  return element;
}

export function facts(video) {
  const labels = video.labels.map((label) => make("span", { className: "tag" }, label));
  const length = isMoment(video) ? `${clock(video.start)} to ${clock(video.end)}, of ${secondsText(video.seconds)}` : secondsText(video.seconds);
  return make("p", { className: "facts" }, ...labels, make("span", {}, length), frames(video));
}

export function card(video, bits, asked, alike, scoresFrames) {
  const found = asked !== null;
  const open = screen(video, found ? `Open ${video.id}, ${count(video.distance, "bit")} away` : `Open ${video.id}`);
  open.addEventListener("click", () => details(video, bits, alike));
  const button = make("button", { type: "button", className: "alike" }, "Find alike");
  button.setAttribute("aria-label", `Find alike: ${video.id}`);
  button.addEventListener("click", () => alike(video));
  const head = make("div", { className: "shown" }, open);
  if (found) {
    const unit = video.distance === 1 ? " bit" : " bits";
    const alike = video.likeness === null ? [] : [`, likeness ${video.likeness.toFixed(2)}`];
    head.append(make("p", { className: "distance" }, make("strong", {}, String(video.distance)), unit, ...alike));
  }
  const code = strip(video.code, bits, asked?.code ?? null);
  const article = make("article", { className: "card" }, head, make("h3", {}, video.id), facts(video), code, button);
  if (scoresFrames) showHighestScored(article, video);
  return make("li", { tabIndex: -1 }, article);
}

// Three frames that the sampler scored highest; a video without stored features has none.
function showHighestScored(article, video) {
  const alt = `the frames of ${video.id} that the sampler scored highest`;
  const picture = make("img", { src: highestScored(video), alt, title: alt, loading: "lazy", decoding: "async", className: "scored" });
  picture.addEventListener("error", () => picture.remove());
  article.querySelector(".shown").after(picture);
}

let removed = () => {};
export const onRemoved = (watcher) => { removed = watcher; };

export async function details(video, bits, alike) {
  const dialog = $("details");
  $("details-title").textContent = video.id;
  $("details-screen").replaceChildren(player(video, { controls: true, "aria-label": `video ${video.id}` }));
  const rows = (known) => {
    const file = known?.file;
    const all = {
      label: video.labels.join(", ") || "none",
      "found at": isMoment(video) ? `${clock(video.start)} to ${clock(video.end)}` : "",
      length: secondsText(file?.seconds ?? video.seconds),
      "cut into": known?.spans.length > 1 ? count(known.spans.length, "segment") : "",
      frames: file ? String(file.frames) : (known?.no_file ?? "…"),
      size: file ? `${file.width} × ${file.height} pixels, ${file.megabytes.toFixed(2)} MB` : "",
      remark: file?.remark ?? "",
      file: video.path || "unknown",
    };
    const shown = Object.fromEntries(Object.entries(all).filter(([, value]) => value));
    const code = make("dd", { className: "code" }, video.code, strip(video.code, bits));
    $("details-facts").replaceChildren(...terms(shown), make("dt", {}, "code"), code);
  };
  rows(null);
  $("details-alike").onclick = () => { dialog.close(); alike(video); };
  $("details-remove").onclick = async () => {
    if (!confirm(`Take ${video.id} out of the index?`)) return;
    try {
      await change(at("videos", video.id), { method: "DELETE" });
      dialog.close();
      say(`${video.id} was taken out of the index.`);
      removed();
    } catch (problem) {
      dialog.close();
      fault(problem.message);
    }
  };
  dialog.showModal();
  const known = await ask(at("videos", video.id)).catch(() => null);
  if (known && $("details-title").textContent === video.id) rows(known);
}
$("details").addEventListener("close", () => $("details-screen").replaceChildren());

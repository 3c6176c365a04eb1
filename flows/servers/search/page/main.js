// Which view is shown, and what the service says of its index.

import { $, count, fault, say, terms } from "./dom.js";
import { ask, onIndex } from "./http.js";
import * as duplicates from "./duplicates.js";
import * as map from "./map.js";
import * as search from "./search.js";

const VIEWS = { search: null, map, duplicates };
let about = null;

async function learn() {
  about = await ask("/index");
  const { index } = about;
  const hasher = index.hasher;
  $("hasher-name").textContent = hasher.model
    ? `${hasher.model} version ${hasher.version}, ${index.bits} bits`
    : `a hasher of ${index.bits} bits (${hasher.sha256.slice(0, 12)})`;
  const how = about.exact ? "exact search" : "search in some cells";
  $("index-said").textContent =
    `Index version ${index.version}: ${count(index.videos, "video")}, codes of ${index.bits} bits, ${how}`;
  for (const view of [search, map, duplicates]) view.start(about);
}

// The index may be large, and the service has just been started.
async function learnWhenReady() {
  for (;;) {
    try {
      await learn();
      return;
    } catch (problem) {
      if (problem.status !== 503) throw problem;
      say(problem.message);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

onIndex((index) => {
  if (about && index.version !== about.index.version) learn().catch((problem) => fault(problem.message));
});

function route() {
  const wanted = location.hash.slice(1);
  const name = wanted in VIEWS ? wanted : "search";
  for (const view of Object.keys(VIEWS)) {
    $(`view-${view}`).hidden = view !== name;
    const link = document.querySelector(`nav a[href="#${view}"]`);
    if (view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fault("");
  say("");
  VIEWS[name]?.show();
}

$("hasher").addEventListener("click", async () => {
  const { index } = about;
  const hasher = index.hasher;
  const facts = {
    name: hasher.model || "not registered",
    version: hasher.version || "none",
    digest: hasher.sha256,
    bits: String(index.bits),
    "index version": index.version,
  };
  $("card-facts").replaceChildren(...terms(facts));
  $("card-text").replaceChildren();
  $("card").showModal();
  if (!about.has_card) {
    $("card-text").textContent = "The index holds no model card of this hasher.";
    return;
  }
  try {
    // Rendered by the service, which lets no HTML of the card through.
    $("card-text").innerHTML = (await ask("/hasher/card")).html;
  } catch (problem) {
    $("card-text").textContent = problem.message;
  }
});

addEventListener("hashchange", route);
try {
  await learnWhenReady();
  route();
  await search.run();
} catch (problem) {
  fault(problem.message);
}

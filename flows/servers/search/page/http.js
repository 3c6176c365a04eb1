// Asking the service. A problem becomes an exception with its detail.
// Whatever changes something asks for the token first.

import { $ } from "./dom.js";

const TOKEN = "ssvh token";

export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
  }
}

const watchers = [];
export const onIndex = (watcher) => watchers.push(watcher);

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service does not answer", "is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer.title ?? response.statusText, answer.detail ?? "");
  if (answer.index) for (const watcher of watchers) watcher(answer.index);
  return answer;
}

export async function change(path, options) {
  let token = sessionStorage.getItem(TOKEN) ?? (await askForToken(""));
  for (;;) {
    try {
      return await ask(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } });
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      sessionStorage.removeItem(TOKEN);
      token = await askForToken("This was not the token. ");
    }
  }
}

const explained = $("token-why").innerHTML;

function askForToken(before) {
  const dialog = $("token");
  $("token-why").innerHTML = before + explained;
  $("token-value").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  // Answered when the browser tells that it is closed, which may be late: it must not be told to the next question.
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "given") {
        reject(new Problem(401, "Nothing was changed", "changes need the token"));
        return;
      }
      const token = $("token-value").value.trim();
      sessionStorage.setItem(TOKEN, token);
      resolve(token);
    }, { once: true });
  });
}

// Whether what was found is a part of a video.
export const isMoment = (video) => video.start > 0 || video.end < video.seconds - 0.001;

// The code is in the address of a picture, so that a browser does not keep one of another video that had the same id.
export const thumbnail = (video) => {
  const moment = isMoment(video) ? `&at=${(video.start + video.end) / 2}` : "";
  return `${at("thumbnails", video.id)}?of=${video.code}${moment}`;
};
export const highestScored = (video) => {
  const moment = isMoment(video) ? `&start=${video.start}&end=${video.end}` : "";
  return `${at("frames", video.id)}?of=${video.code}${moment}`;
};
export const preview = (video) => `${at("previews", video.id)}?of=${video.code}`;
export const at = (kind, id) => `/${kind}/${encodeURIComponent(id)}`;

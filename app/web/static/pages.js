// What pages do beyond HTML: sleep in hidden tabs, say when a region is late, take a press once.
// A region is an element that loads by itself, with "wake" in its hx-trigger.  Every page works
// without this file.
"use strict";

const LONGEST_DELAY_MS = 30_000;
const REGION = "[hx-trigger*='wake']";
const asleep = new Set();

function wake(region) {
  if (region.isConnected) htmx.trigger(region, "wake");
}

// Polling stops in a hidden tab, and goes on at once when the tab is shown.
document.addEventListener("htmx:beforeRequest", (event) => {
  const region = event.detail.elt;
  if (document.hidden && region.matches(REGION)) {
    event.preventDefault();
    asleep.add(region);
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  asleep.forEach(wake);
  asleep.clear();
});

// A region that cannot be updated says since when, and tries again; a signed-out page loads anew.
function sayLate(event) {
  const region = event.detail.elt;
  if (!region.matches?.(REGION)) return;
  if (event.detail.xhr?.status === 401) return location.reload();
  const line = region.querySelector("[data-as-of]");
  if (line) line.textContent = `Not updated since ${line.dataset.asOf}.`;
  const waitS = Number(event.detail.xhr?.getResponseHeader("Retry-After"));
  setTimeout(wake, waitS * 1000 || LONGEST_DELAY_MS, region);
}

for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, sayLate);
}

// htmx writes an error to the console for a request that was given up: more was typed, or the page
// was left.  It asks its logger before.
htmx.logger = (_element, name, detail) => {
  if (name === "htmx:afterRequest" || name === "htmx:sendAbort") delete detail.error;
};

// What is unfolded in a region is unfolded in the one that replaces it.
let unfolded = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  const open = event.detail.target.querySelectorAll("details[open][id]");
  unfolded = Array.from(open, (details) => details.id);
});

document.addEventListener("htmx:afterSwap", () => {
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
});

// A form is sent once: its buttons are disabled after the browser has read their values.
document.addEventListener("submit", (event) => {
  setTimeout(() => {
    if (event.defaultPrevented) return;
    const pressed = event.submitter;
    if (pressed?.dataset.pressed) pressed.textContent = pressed.dataset.pressed;
    for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  });
});

// A page that comes back from the browser's memory is loaded anew: its buttons were pressed.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// The answer to a form is gone back to, and loaded anew, as the page of the form.
const answer = document.querySelector("[data-page]");
if (answer) history.replaceState(null, "", answer.dataset.page);

// The account menu closes like every menu: by Escape, or by a press elsewhere.
function closeMenu(menu, { focus }) {
  if (!menu?.open) return;
  menu.open = false;
  if (focus) menu.querySelector("summary").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeMenu(document.querySelector(".account"), { focus: true });
});

document.addEventListener("click", (event) => {
  const menu = document.querySelector(".account");
  if (!menu?.contains(event.target)) closeMenu(menu, { focus: false });
});

// The answer to what a person did is read first.
document.querySelector(".note[tabindex]")?.focus();

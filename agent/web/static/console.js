// Keeps the page true while it is looked at. Everything works without it, by reload.
//
//   /live "look again" → fetch this address → exchange the regions marked data-live that differ
"use strict";

(() => {
  const address = document.body.dataset.liveFrom;
  if (!address || !window.EventSource) return;

  const shown = new Map(); // region or list entry → its HTML as the server sent it
  const remember = (root) => {
    for (const part of root.querySelectorAll("[data-live][id], [data-live-list] > [id]")) shown.set(part.id, part.outerHTML);
  };
  remember(document);

  let busy = false;
  let again = false;
  let everOpened = false;
  let leaving = false; // a form is on its way: nothing may overtake it

  addEventListener("beforeunload", () => {
    leaving = true;
    setTimeout(() => (leaving = false), 10000); // it was only a download, or the person stayed
  });

  async function refresh() {
    if (document.hidden || leaving) return; // looked at again when it is seen again
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Varde-Live": "1" }, cache: "no-store" });
      if (answer.redirected) {
        if (!leaving) location.reload(); // the session is over: the server shows the log-in
        return;
      }
      if (answer.ok) exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The line is broken; the event stream says so and tries again.
    } finally {
      busy = false;
      if (again) {
        again = false;
        refresh();
      }
    }
  }

  function exchange(fresh) {
    for (const next of fresh.querySelectorAll("[data-live][id]")) {
      const old = document.getElementById(next.id);
      if (old && shown.get(next.id) !== next.outerHTML) replace(old, next);
    }
    for (const next of fresh.querySelectorAll("[data-live-list][id]")) {
      const old = document.getElementById(next.id);
      if (old) merge(old, next);
    }
  }

  function replace(old, next) {
    shown.set(next.id, next.outerHTML);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && focusable(old).indexOf(focused);
    const opened = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
    const made = document.importNode(next, true);
    for (const details of made.querySelectorAll("details[id]")) details.open = opened.includes(details.id);
    old.replaceWith(made);
    if (focused && place >= 0) (focusable(made)[place] || made).focus({ preventScroll: true });
  }

  const focusable = (root) => [...root.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];

  // A list keeps the entries it has: what is being read or looked at stays where it is.
  function merge(list, next) {
    const before = new Set([...list.children].map((entry) => entry.id));
    const wanted = new Set([...next.children].map((entry) => entry.id));
    for (const entry of [...list.children]) if (!wanted.has(entry.id)) entry.remove();
    let position = list.firstElementChild;
    for (const entry of [...next.children]) {
      let mine = document.getElementById(entry.id);
      if (!mine) {
        shown.set(entry.id, entry.outerHTML);
        mine = document.importNode(entry, true);
        list.insertBefore(mine, position);
      } else {
        if (mine !== position) list.insertBefore(mine, position);
        else position = position.nextElementSibling;
        if (shown.get(entry.id) !== entry.outerHTML) update(mine, entry);
      }
    }
    const newest = next.firstElementChild;
    if (newest && !before.has(newest.id) && list.dataset.announce) announce(list.dataset.announce + " " + newest.dataset.say);
  }

  function update(mine, entry) {
    shown.set(entry.id, entry.outerHTML);
    const hadFocus = mine.contains(document.activeElement);
    mine.replaceChildren(...document.importNode(entry, true).childNodes);
    if (hadFocus) mine.querySelector("a")?.focus({ preventScroll: true });
  }

  function announce(text) {
    document.getElementById("announce").textContent = text;
  }

  function lost(isLost) {
    document.getElementById("stream-lost").hidden = !isLost;
  }

  function open() {
    const stream = new EventSource(address);
    stream.addEventListener("change", refresh);
    stream.addEventListener("open", () => {
      lost(false);
      if (everOpened) refresh(); // what happened while the line was broken
      everOpened = true;
    });
    stream.addEventListener("error", () => {
      if (leaving) return;
      lost(true);
      if (stream.readyState === EventSource.CLOSED) {
        refresh(); // a session that is over leads to the log-in
        setTimeout(open, 5000);
      }
    });
    addEventListener("pagehide", () => stream.close(), { once: true });
  }

  addEventListener("pageshow", (event) => event.persisted && location.reload());
  document.addEventListener("visibilitychange", () => document.hidden || refresh());

  setInterval(() => {
    for (const part of document.querySelectorAll("[data-until]")) {
      const left = Math.max(0, Math.floor((Number(part.dataset.until) - Date.now()) / 1000));
      const two = (number) => String(number).padStart(2, "0");
      const hours = Math.floor(left / 3600);
      const rest = two(Math.floor((left % 3600) / 60)) + ":" + two(left % 60);
      part.textContent = hours ? hours + ":" + rest : rest;
    }
  }, 1000);

  open();
})();

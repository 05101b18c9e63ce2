// Keeps a page live. The server sends the main part of the page after each change. Between two
// updates the script counts times up and down.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("state");
  const seen = new WeakMap(); // for each time element: its values, and when they came

  const two = (n) => String(n).padStart(2, "0");
  const human = (ms) => {
    const s = Math.floor(Math.max(0, ms) / 1000);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
    return `${Math.floor(s / 86400)} d ${two(Math.floor(s / 3600) % 24)} h`;
  };

  const tick = () => {
    const now = performance.now();
    for (const time of document.querySelectorAll("time[data-ms]")) {
      const from = seen.get(time);
      if (!from || from.ms !== time.dataset.ms || from.at !== time.dateTime) {
        seen.set(time, { ms: time.dataset.ms, at: time.dateTime, start: now });
        continue;
      }
      const gone = now - from.start;
      const ms = Number(from.ms) + (time.dataset.go === "up" ? gone : -gone);
      if (time.textContent !== human(ms)) time.textContent = human(ms);
      const bar = time.dataset.go === "down" && time.closest("td, dd")?.querySelector("progress");
      if (bar) bar.value = Math.max(0, ms);
    }
  };

  // morph changes an element until it equals another one. It keeps equal parts, and so the focus
  // and the selection.
  const morph = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const keyed = new Map();
    for (const child of old.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      let same = next.nodeType === 1 && next.dataset.key ? keyed.get(next.dataset.key) : at;
      if (same && (same.nodeType !== next.nodeType || same.nodeName !== next.nodeName ||
        (same.dataset?.key ?? "") !== (next.dataset?.key ?? ""))) same = null;
      if (!same) {
        old.insertBefore(next, at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      if (next.nodeType === 1) morph(same, next);
      else if (same.nodeValue !== next.nodeValue) same.nodeValue = next.nodeValue;
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const say = (kind, text) => {
    state.className = kind;
    if (state.textContent !== text) state.textContent = text;
  };

  const connect = () => {
    const source = new EventSource(main.dataset.live);
    source.onopen = () => say("live", "Live");
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) {
        say("waiting", "Connection lost, trying again…");
        return;
      }
      // The browser gives up if the server is busy or shuts down, or if the login has ended.
      say("paused", "Not live: reload, or wait a minute");
      setTimeout(connect, 30000 + 30000 * Math.random());
    };
    source.addEventListener("page", (event) => {
      const body = new DOMParser().parseFromString(event.data, "text/html").body;
      const fresh = main.cloneNode(false);
      fresh.append(...body.childNodes);
      morph(main, fresh);
      say("live", "Live");
      tick();
    });
    source.addEventListener("trouble", (event) => say("waiting", event.data));
    source.addEventListener("gone", (event) => {
      source.close();
      say("paused", event.data);
    });
    source.addEventListener("final", () => {
      source.close();
      say("final", "Ended: nothing changes any more");
    });
  };

  setInterval(tick, 250);
  tick();
  if (!main) return;
  say("waiting", "Connecting…");
  connect();
})();

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

  const lost = "Connection lost, trying again…";
  let source, retry, heard, ended = false;

  // connect connects anew. A page in the background has no connection: over HTTP/1.1 a browser
  // keeps six, and a seventh tab would wait.
  const connect = () => {
    source?.close();
    clearTimeout(retry);
    if (ended) return;
    if (document.hidden) return say("paused", "Paused in the background");
    say("waiting", "Connecting…");
    source = new EventSource(main.dataset.live);
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return say("waiting", lost);
      // The browser gives up if the server is busy or shuts down, or if the login has ended.
      say("paused", "Not live: reload, or wait a minute");
      retry = setTimeout(connect, 30000 + 30000 * Math.random());
    };
    on("page", (data) => {
      const inert = document.createElement("template"); // it keeps white space at the start
      inert.innerHTML = data;
      const fresh = main.cloneNode(false);
      fresh.append(inert.content);
      morph(main, fresh);
      say("live", "Live");
      tick();
    });
    on("still", () => say("live", "Live"));
    on("trouble", (data) => say("waiting", data));
    on("gone", (data) => end("paused", data));
    on("final", () => end("final", "Ended: nothing changes any more"));
    heard = performance.now();
  };

  const on = (name, handle) => source.addEventListener(name, (event) => {
    heard = performance.now();
    handle(event.data);
  });

  const end = (kind, text) => {
    ended = true;
    source.close();
    say(kind, text);
  };

  // A connection may be dead and still look open. The server sends an event every few seconds.
  const listen = () => {
    const open = source && source.readyState !== EventSource.CLOSED;
    if (!open || performance.now() - heard < main.dataset.quiet) return;
    connect();
    say("waiting", lost);
  };

  setInterval(tick, 250);
  tick();
  if (!main) return;
  connect();
  document.addEventListener("visibilitychange", connect);
  setInterval(listen, 1000);
})();

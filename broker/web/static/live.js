// Keeps a page of a job, or the list of jobs, as it is now: the server is told to say when something changed (events of
// the log), then the page is fetched again and its parts marked data-live take the place of the old ones. Without this
// script the page is the same, and does not renew itself.
"use strict";
(() => {
  const AGAIN = 400; // milliseconds between two renewals at least
  const LONGEST = 500000; // characters of a log that stay on the page
  const steering =
    /\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;
  let waiting = null;
  let last = 0;
  let busy = false;
  let source = null;
  let ended = false;

  function renewSoon() {
    if (waiting === null) waiting = setTimeout(renew, Math.max(0, last + AGAIN - Date.now()));
  }

  async function renew() {
    waiting = null;
    if (busy) return renewSoon();
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) return stop();
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) swap(part, fresh.getElementById(part.id));
      if (document.querySelector("[data-poll]") === null && pollTimer !== null) clearInterval(pollTimer);
    } catch {
      // the server is away: the next event, or the next look, tries again
    } finally {
      busy = false;
      last = Date.now();
    }
  }

  // New content for a part; what was open stays open, and the focus stays where it was.
  function swap(part, fresh) {
    if (fresh === null || part.innerHTML === fresh.innerHTML) return;
    if (part.dataset.keep && document.getElementById(part.dataset.keep)) return;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    if (!("poll" in fresh.dataset)) delete part.dataset.poll;
    part.replaceChildren(...[...fresh.childNodes].map((one) => document.importNode(one, true)));
    [...part.querySelectorAll("details")].forEach((one, index) => (one.open = open[index] ?? one.open));
    if (focused) (document.getElementById(focused) ?? document.getElementById("content")).focus({ preventScroll: true });
    part.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
  }

  function follow(log) {
    if (ended || source !== null || document.hidden) return;
    source = new EventSource(`${log.dataset.follow}&after=${log.dataset.after}`);
    source.addEventListener("log", (event) => append(log, JSON.parse(event.data)));
    source.addEventListener("status", renewSoon);
    source.addEventListener("end", () => {
      ended = true;
      stop();
      renewSoon();
    });
    source.onerror = () => {
      // the stream was refused (a session that ended, a job that is not shared any more): do not ask for ever
      if (source !== null && source.readyState === EventSource.CLOSED) renewSoon();
    };
  }

  function stop() {
    if (source !== null) source.close();
    source = null;
  }

  function append(log, chunk) {
    log.dataset.after = chunk.id;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 30;
    const name = chunk.attempt === 1 ? chunk.step : `${chunk.step}, attempt ${chunk.attempt}`;
    let section = log.lastElementChild;
    if (section === null || section.dataset.step !== name) {
      document.getElementById("no-log")?.remove();
      section = document.createElement("section");
      section.dataset.step = name;
      const heading = document.createElement(log.classList.contains("tall") ? "h2" : "h3");
      heading.textContent = name;
      section.append(heading, document.createElement("pre"));
      log.append(section);
    }
    section.lastElementChild.append(chunk.text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").replace(steering, ""));
    while (log.textContent.length > LONGEST && log.children.length > 1) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  // How long something has lasted goes on between two renewals, as amounts.py writes it.
  function lasting(seconds) {
    const whole = Math.round(seconds);
    if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
    if (whole < 60) return `${whole} s`;
    const [unit, big, part, small] =
      whole < 3600 ? [60, "min", 1, "s"] : whole < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
    const rest = Math.floor((whole % unit) / part);
    return `${Math.floor(whole / unit)} ${big}${rest ? ` ${rest} ${small}` : ""}`;
  }

  setInterval(() => {
    for (const one of document.querySelectorAll("[data-elapsed]")) {
      one.dataset.begun ??= Date.now() - one.dataset.elapsed * 1000;
      one.textContent = lasting((Date.now() - one.dataset.begun) / 1000);
    }
  }, 1000);

  const log = document.getElementById("log");
  const polled = document.querySelector("[data-poll]");
  const pollTimer = polled === null ? null : setInterval(() => document.hidden || renew(), polled.dataset.poll * 1000);
  if (log !== null) {
    log.scrollTop = log.scrollHeight;
    follow(log);
    // browsers open six connections to a server: pages that nobody looks at give theirs back
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return stop();
      follow(log);
      if (!ended) renewSoon();
    });
    setInterval(() => document.hidden || ended || renewSoon(), 15000);
  }
})();

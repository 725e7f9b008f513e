// Keeps the command lines below the form of a process true to what is filled in: the server writes them.
"use strict";
(() => {
  const form = document.getElementById("execute");
  const shown = document.getElementById("twin");
  if (!form || !shown) return;
  for (const hint of document.querySelectorAll(".noscript")) hint.remove();
  let waiting = 0;
  let latest = 0;
  const refresh = async () => {
    const mine = ++latest;
    const sent = new FormData(form);
    for (const [name, value] of [...sent.entries()]) {
      if (value instanceof File) sent.delete(name); // files go with the form, not with each key
    }
    sent.set("do", "twin");
    const answer = await fetch(form.action, { method: "POST", body: sent, headers: { Accept: "text/html" } });
    if (answer.ok && mine === latest) shown.innerHTML = await answer.text(); // escaped by the server's templates
  };
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh().catch(() => {}), 400);
  });
})();

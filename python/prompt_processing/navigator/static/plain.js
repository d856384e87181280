// Pages of HTML alone: their inputs and keys change the address, and only what is new is asked for.
"use strict";

(() => {
  const POLL_MS = 2500;
  const view = document.getElementById("view");
  const messages = document.getElementById("messages");
  const age = document.getElementById("age");
  const footer = document.getElementById("keys");
  const meanings = footer ? JSON.parse(footer.dataset.keys) : {};
  const name = view.dataset.name;
  let addresses = JSON.parse(view.dataset.addresses);
  let tag = view.dataset.tag;
  let seen = view.dataset.seen;
  let query = window.location.search;
  let known = {};
  let asked = 0;
  let going = 0;
  let failed = "failed" in view.dataset;

  function tell(sentences) {
    messages.replaceChildren(...sentences.map((sentence) => {
      const line = document.createElement("div");
      line.className = "message";
      line.textContent = sentence;
      return line;
    }));
  }

  // Regions that have not changed keep their place in a scrolled table, and a field the cursor in it.
  function show(regions, how) {
    const places = Object.keys(regions).map((place) => `region-${place}`);
    const field = view.contains(document.activeElement) ? document.activeElement : null;
    const name_ = field?.name ?? "";
    if (places.join() !== [...view.children].map((one) => one.id).join()) {
      known = {};
      view.replaceChildren(...places.map((place) => {
        const region = document.createElement("div");
        region.id = place;
        return region;
      }));
    }
    for (const [place, html] of Object.entries(regions)) {
      const region = document.getElementById(`region-${place}`);
      if (known[place] === html || (how === "poll" && field?.form && region.contains(field))) continue;
      region.innerHTML = html;
      known[place] = html;
    }
    if (name_ && !field.isConnected) view.querySelector(`[name="${name_}"]`)?.focus();
  }

  // How: "poll" for what is on the screen, "go" for another address, "back" for one that the browser has set.
  async function ask(wanted, how) {
    const mine = ++asked;
    const headers = how === "poll" ? { "X-Known": tag } : {};
    const answer = await fetch(`parts/${name}${wanted}`, { cache: "no-store", headers });
    if (!answer.ok) throw new Error(answer.statusText);
    const found = await answer.json();
    // A later question has another answer.
    if (mine !== asked) return;
    if (found.failed && seen) {
      // What is on the screen stays.
      tell([...found.messages.slice(0, -1), `What is shown is of ${seen}.`]);
      failed = true;
      return;
    }
    if (how === "go") window.history.pushState(null, "", `${name}${wanted}`);
    query = wanted;
    seen = found.seen;
    tag = found.tag;
    age.innerHTML = found.age;
    // What was said about a key stays until the next one.
    if (how !== "poll" || failed || found.failed) tell(found.messages);
    failed = found.failed;
    if (found.regions) {
      addresses = found.addresses;
      show(found.regions, how);
    }
  }

  function go(wanted, how = "go") {
    going += 1;
    ask(wanted, how)
      .catch(() => tell(["The server does not answer; try again."]))
      .finally(() => { going -= 1; });
  }

  // The fields are the address.
  function changed(field) {
    const fields = new FormData(field.form);
    for (const gone of (field.dataset.clears ?? "").split(" ").filter(Boolean)) fields.delete(gone);
    const pairs = [...fields].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value !== "");
    const wanted = new URLSearchParams(pairs).toString();
    if (`?${wanted}` !== query) go(wanted ? `?${wanted}` : "");
  }
  view.addEventListener("change", (event) => { if (event.target.form) changed(event.target); });
  view.addEventListener("submit", (event) => event.preventDefault());

  window.addEventListener("prompt-key", (event) => {
    event.preventDefault();
    const address = addresses[event.detail];
    if (address === undefined) tell([`There is no ${meanings[event.detail]}.`]);
    else go(address.includes("?") ? address.slice(address.indexOf("?")) : "");
  });
  window.addEventListener("popstate", () => go(window.location.search, "back"));

  async function poll() {
    if (document.visibilityState === "visible" && !going) {
      // The page's other script says so when the server is gone.
      await ask(query, "poll").catch(() => {});
    }
    window.setTimeout(poll, POLL_MS);
  }
  if ("live" in view.dataset) window.setTimeout(poll, POLL_MS);
})();

// Keys, connection and history of every page. The page's views are Bokeh models; this file only finds them by name.
"use strict";

(() => {
  let presses = 0;
  let pressed = [];
  const footer = document.getElementById("keys");
  const meanings = footer ? JSON.parse(footer.dataset.keys) : {};

  function model(name) {
    for (const document_ of window.Bokeh?.documents ?? []) {
      const found = document_.get_model_by_name(name);
      if (found) return found;
    }
    return null;
  }
  window.promptModel = model;

  // Bokeh takes longer to start than the browser to show the preview, which is painted first.
  async function start() {
    await new Promise((painted) => {
      window.requestAnimationFrame(() => window.setTimeout(painted));
      // No frame is painted in the background.
      window.setTimeout(painted, 200);
    });
    const addresses = JSON.parse(document.getElementById("scripts").dataset.addresses);
    await Promise.all(addresses.map((address) => new Promise((loaded, failed) => {
      const script = document.createElement("script");
      // In this order.
      script.async = false;
      script.src = address;
      script.onload = loaded;
      script.onerror = failed;
      document.head.append(script);
    })));
    const held = document.getElementById("start");
    const script = document.createElement("script");
    script.nonce = held.nonce;
    script.textContent = held.textContent;
    document.body.append(script);
  }
  if (document.getElementById("scripts")) {
    start().catch(() => {
      document.getElementById("connection").textContent = "Scripts are missing: load the page again.";
    });
  }

  // The preview goes when everything that it shows is there.
  function settle() {
    if (window.Bokeh?.documents?.[0]?.is_idle) document.getElementById("preview")?.remove();
    else window.setTimeout(settle, 20);
  }
  if (document.getElementById("preview")) settle();

  // What the cursor is on, at the bottom of the page.
  const readout = document.getElementById("readout");
  let shown = "";
  window.addEventListener("mouseover", (event) => {
    const words = event.composedPath().find((one) => one.dataset?.words)?.dataset.words ?? "";
    if (words || shown) readout.textContent = words;
    shown = words;
  });

  function isTyping(event) {
    // Widgets live in shadow trees: the event's path has the true target.
    const target = event.composedPath()[0];
    return target instanceof HTMLElement
      && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
      && !/^(checkbox|radio|button|range)$/.test(target.type ?? "");
  }

  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || !(event.key in meanings)) return;
    event.preventDefault();
    const handled = !window.dispatchEvent(new CustomEvent("prompt-key", { detail: event.key, cancelable: true }));
    const keys = model("keys_input");
    if (handled || !keys) return;
    // The server may get only the last of several values that follow each other closely.
    pressed = [...pressed.slice(-19), event.key];
    keys.value = JSON.stringify([++presses, ...pressed]);
  });

  // Back and forward: each address is a view of its own. Pages of HTML alone have a way of their own.
  if (!document.getElementById("view")) window.addEventListener("popstate", () => window.location.reload());

  // Says so when the server is gone, and comes back with the same address when it answers again.
  const status = document.getElementById("connection");
  let lost = false;
  async function look() {
    let answers = false;
    try {
      answers = (await fetch("health/live", { cache: "no-store" })).ok;
    } catch {
      answers = false;
    }
    if (!answers && !lost) {
      lost = true;
      status.textContent = `No connection since ${new Date().toISOString().slice(11, 19)} UTC; retrying.`;
    } else if (answers && lost) {
      window.location.reload();
    }
    window.setTimeout(look, lost ? 2000 : 15000);
  }
  window.setTimeout(look, 15000);
})();

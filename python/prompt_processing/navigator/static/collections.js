// The next and the previous figure are here already: a key shows them, and the server's answer follows.
"use strict";

(() => {
  // Views live in shadow trees.
  function parentOf(selector, root = document) {
    const found = root.querySelector(selector);
    if (found) return found.parentNode;
    for (const one of root.querySelectorAll("*")) {
      const inside = one.shadowRoot && parentOf(selector, one.shadowRoot);
      if (inside) return inside;
    }
    return null;
  }

  window.addEventListener("prompt-key", (event) => {
    const ahead = window.promptModel("ahead");
    const part = ahead?.tags?.[0]?.[event.detail];
    if (!part) return;
    for (const [selector, html] of [["h1", part.heading], [".figures", part.figures]]) {
      const parent = parentOf(selector, document.getElementById("live"));
      if (parent) parent.innerHTML = html;
    }
    // What is ahead of this one is not here yet.
    ahead.setv({ tags: [] }, { sync: false });
  });
})();

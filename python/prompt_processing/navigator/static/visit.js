// A click on a detector of the focal plane opens its images.
"use strict";

(() => {
  function attach() {
    const figure = window.promptModel("focal-plane-figure");
    const source = window.promptModel("focal-plane");
    if (!figure || !source) {
      window.setTimeout(attach, 100);
      return;
    }
    figure.on_event("tap", () => {
      // After the tap tool has made its selection.
      window.setTimeout(() => {
        const [chosen] = source.selected.indices;
        const address = chosen === undefined ? "" : source.data.address[chosen];
        if (address) window.location.href = address;
      }, 50);
    });
    figure.document.event_manager.subscribed_models.add(figure);
  }
  window.addEventListener("load", attach);
})();

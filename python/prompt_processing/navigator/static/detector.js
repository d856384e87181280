// Values under the cursor, and blinking: both in the browser, from pixels that it has already.
"use strict";

(() => {
  const ROLES = ["science", "template", "difference"];
  const BLINK_MS = 600;
  const readout = document.getElementById("readout");
  let held = null;
  let last = null;

  function valueAt(role, x, y) {
    const source = window.promptModel(`pixels-${role}`);
    const data = source?.data;
    if (!data || !data.image?.length) return null;
    const image = data.image[0];
    const [rows, columns] = image.shape;
    const column = Math.floor(((x - data.x[0]) / data.dw[0]) * columns);
    const row = Math.floor(((y - data.y[0]) / data.dh[0]) * rows);
    if (column < 0 || row < 0 || column >= columns || row >= rows) return null;
    return { value: image[row * columns + column], binning: data.dw[0] / columns };
  }

  function sky(x, y, figure) {
    // The sky at the middle of the view, at its right edge and at its upper edge: linear across the view.
    if (figure.tags.length !== 8) return null;
    const [lon0, lon1, lon2, lat0, lat1, lat2, middleX, middleY] = figure.tags;
    const u = (x - middleX) / ((figure.x_range.end - figure.x_range.start) / 2);
    const v = (y - middleY) / ((figure.y_range.end - figure.y_range.start) / 2);
    const turn = (value) => value - 360 * Math.round(value / 360);
    const lon = lon0 + u * turn(lon1 - lon0) + v * turn(lon2 - lon0);
    return [((lon % 360) + 360) % 360, lat0 + u * (lat1 - lat0) + v * (lat2 - lat0)];
  }

  function show(event, figure) {
    last = { event: { x: event.x, y: event.y }, figure };
    const x = Math.round(event.x);
    const y = Math.round(event.y);
    const parts = [`x ${x}  y ${y}`];
    const place = sky(event.x, event.y, figure);
    if (place) parts.push(`RA ${place[0].toFixed(5)}  Dec ${place[1].toFixed(5)}`);
    let binning = 1;
    for (const role of ROLES) {
      const found = valueAt(role, event.x, event.y);
      if (!found) continue;
      binning = Math.max(binning, Math.round(found.binning));
      parts.push(`${role} ${Number.isFinite(found.value) ? found.value.toPrecision(5) : "no value"}`);
    }
    if (binning > 1) parts.push(`mean of ${binning} × ${binning}`);
    readout.textContent = parts.join("   ");
  }

  function attach() {
    const figures = [...ROLES, "blink"].map(window.promptModel);
    if (!figures[0]) {
      window.setTimeout(attach, 100);
      return;
    }
    for (const figure of figures) {
      if (!figure || figure.promptAttached) continue;
      figure.promptAttached = true;
      figure.on_event("mousemove", (event) => show(event, figure));
      figure.document.event_manager.subscribed_models.add(figure);
    }
    // Pixels may have come after the cursor.
    if (last && readout.textContent) show(last.event, last.figure);
    // The other layout's figures come when it is chosen.
    window.setTimeout(attach, 1000);
  }
  window.addEventListener("load", attach);

  function hold(role) {
    for (const one of ROLES) {
      const renderer = window.promptModel(`blink-${one}`);
      if (renderer) renderer.visible = one === role;
    }
  }

  window.addEventListener("prompt-key", (event) => {
    const number = "123".indexOf(event.detail);
    if (number < 0) {
      if (event.detail === "b") held = null;
      return;
    }
    // Handled here: the server need not know.
    event.preventDefault();
    held = ROLES[number];
    hold(held);
  });

  let turn = 0;
  window.setInterval(() => {
    if (!window.promptModel("blink-science")) return;
    if (held) {
      // The figure may have come after the key.
      hold(held);
      return;
    }
    const shown = ROLES.slice(0, 2);
    turn = (turn + 1) % shown.length;
    hold(shown[turn]);
  }, BLINK_MS);
})();

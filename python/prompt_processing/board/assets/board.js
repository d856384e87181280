// Asks the server for the view of the night, and hands its parts to the elements of the page.
(function () {
  "use strict";

  const TIMEOUT_MS = 10000;
  let revision = null;
  let search = null;
  let busy = false;
  let lastAnswer = null;

  function clock(date) {
    return date.toISOString().slice(11, 19) + " UTC";
  }

  function say(text, lost) {
    const status = document.getElementById("status");
    if (status) {
      status.textContent = text;
      status.className = lost ? "lost" : "";
    }
  }

  function base() {
    const config = document.getElementById("_dash-config");
    return JSON.parse(config.textContent).requests_pathname_prefix;
  }

  async function refresh(ticks, asked) {
    const unchanged = window.dash_clientside.no_update;
    const n = window.dash_clientside.callback_context.outputs_list.length;
    const nothing = Array(n).fill(unchanged);
    if (busy || (document.hidden && revision !== null)) {
      return nothing;
    }
    busy = true;
    try {
      const response = await fetch(base() + "_view" + (asked || ""), {
        cache: "no-cache", signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!response.ok) {
        throw new Error("HTTP " + response.status);
      }
      const view = await response.json();
      lastAnswer = new Date();
      say(view.current ? "up to date at " + clock(lastAnswer) : "asked at " + clock(lastAnswer), !view.current);
      if (view.revision === revision && asked === search) {
        return nothing;
      }
      revision = view.revision;
      search = asked;
      return view.content;
    } catch (error) {
      // The page stays as it is; the next turn tries again.
      say("▲ The server does not answer" + (lastAnswer ? " since " + clock(lastAnswer) : ""), true);
      return nothing;
    } finally {
      busy = false;
    }
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { board: { refresh: refresh } });
})();

"""Widgets of the detector view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn

from prompt_processing.images.mask import Mask

from ..colours import MASKS
from ..layout import BUTTON, FIT, column, markup, wrapped_row
from .state import DetectorState
from .stretch import CURVES, SCALES

__all__ = ["Controls"]

_MASKS = """
.bk-input-group { display: flex; flex-wrap: wrap; gap: 4px 14px; }
.bk-input-group > * { padding-left: 4px; }
"""


class Controls:
    """Inputs above and below the images.

    Parameters
    ----------
    state
        What they show first.
    open_
        Called with the visit and detector that a user typed.
    step
        Called with ``visit`` or ``detector``, and 1 or -1.
    choose
        Called with the name of a field of the state, and its new value.
    """

    def __init__(
        self,
        state: DetectorState,
        open_: Callable[[str, str], None],
        step: Callable[[str, int], None],
        choose: Callable[[str, Any], None],
    ) -> None:
        self._step = step
        small = {"width": 112, "margin": (2, 6)}
        number = "" if state.detector is None else str(state.detector)
        self.visit = pn.widgets.TextInput(label="Visit", value=state.visit, width=160, margin=(2, 6))
        self.detector = pn.widgets.TextInput(label="Detector", value=number, width=80, margin=(2, 6))
        for one in (self.visit, self.detector):
            one.param.watch(
                lambda event: open_(self.visit.value.strip(), self.detector.value.strip()), "value"
            )
        self.scale = pn.widgets.Select(label="Limits", options=list(SCALES), value=state.scale, **small)
        self.curve = pn.widgets.Select(label="Stretch", options=list(CURVES), value=state.curve, **small)
        self.marks = pn.widgets.Select(
            label="DiaSources",
            options={"by reliability": "reliability", "by class": "class", "hidden": "none"},
            value=state.marks,
            width=130,
            margin=(2, 6),
        )
        self.mode = pn.widgets.Select(
            label="Images", options={"side by side": "side", "blinking": "blink"}, value=state.mode, **small
        )
        for name in ("scale", "curve", "marks", "mode"):
            getattr(self, name).param.watch(partial(_report, choose, name), "value")
        colours = "".join(
            f".bk-input-group > :nth-child({place}) {{ border-left: 10px solid {MASKS[name]}; }}"
            for place, name in enumerate(Mask.__members__, 1)
        )
        self._masks = pn.widgets.CheckBoxGroup(
            label="Mask planes",
            options=list(Mask.__members__),
            value=[name for name in Mask.__members__ if name in state.masks],
            inline=True,
            margin=(2, 6),
            sizing_mode="stretch_width",
            stylesheets=[FIT, _MASKS, colours],
        )
        self._masks.param.watch(lambda event: choose("masks", self._chosen_masks()), "value")

    def row(self) -> Any:
        """Return the row above the images."""
        return wrapped_row(
            self.visit,
            self._button("◀", "visit", -1),
            self._button("▶", "visit", 1),
            self.detector,
            self._button("◀", "detector", -1),
            self._button("▶", "detector", 1),
            self.mode,
            self.scale,
            self.curve,
            self.marks,
        )

    def mask_row(self) -> Any:
        """Return the row of mask planes."""
        return column(markup("Mask planes:"), self._masks)

    def show(self, visit: str, detector: int) -> None:
        """Show another visit and detector."""
        self.visit.value, self.detector.value = visit, str(detector)

    def _chosen_masks(self) -> tuple[str, ...]:
        return tuple(name for name in Mask.__members__ if name in self._masks.value)

    def _button(self, label: str, what: str, by: int) -> Any:
        button = pn.widgets.Button(
            label=label,
            margin=(20, 2, 2, 2),
            width=40,
            description=f"{'next' if by > 0 else 'previous'} {what}",
            stylesheets=[BUTTON],
        )
        button.on_click(lambda event: self._step(what, by))
        return button


def _report(choose: Callable[[str, Any], None], name: str, event: Any) -> None:
    choose(name, event.new)

"""Flags and notes on what a view shows, and the inputs to write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
from sqlalchemy.exc import SQLAlchemyError

from ..layout import BUTTON, FIT, column, markup, wrapped_row
from ..text import escaped, utc
from .desk import RemarkDesk
from .store import FLAGS, Remark, RemarkError, SubjectKind

__all__ = ["RemarkPanel", "badges"]

_SMALL: dict[str, Any] = {"margin": (2, 6)}


class RemarkPanel:
    """Remarks on one subject.

    Parameters
    ----------
    desk
        The database and the user's name.
    tell
        Shows a sentence to the user.
    on_change
        Called after a remark was written.
    """

    def __init__(
        self, desk: RemarkDesk, tell: Callable[[str], None], on_change: Callable[[], None] | None = None
    ) -> None:
        self._desk = desk
        self._tell = tell
        self._on_change = on_change
        self._subject: tuple[SubjectKind, str] | None = None
        self._label = ""
        self._shown = markup()
        self._flags = {
            flag: pn.widgets.Toggle(
                label=flag.capitalize(), width=70, color="primary", variant="outline", margin=(20, 6, 2, 6)
            )
            for flag in FLAGS
        }
        self._note = pn.widgets.TextInput(
            label="Note", placeholder="A sentence", max_length=1000, width=360, stylesheets=[FIT], **_SMALL
        )
        self._quiet = False
        for flag, toggle in self._flags.items():
            toggle.param.watch(lambda event, flag=flag: self._on_flag(flag, bool(event.new)), "value")
        # Its value changes a second time when the input loses the focus.
        self._note.param.watch(self._on_note, "enter_pressed")
        self._add = pn.widgets.Button(label="Add note", width=80, stylesheets=[BUTTON], margin=(20, 6, 2, 6))
        self._add.on_click(self._on_note)
        self._layout = column(self._shown, wrapped_row(*self._flags.values(), self._note, self._add))
        self._layout.visible = desk.configured

    @property
    def content(self) -> Any:
        """What Panel shows."""
        return self._layout

    def show(self, kind: SubjectKind, subject: str, label: str) -> None:
        """Show the remarks on a subject.

        Parameters
        ----------
        label
            Name of the subject for people.
        """
        if not self._desk.configured:
            return
        self._subject, self._label = (kind, subject), label
        try:
            remarks = self._desk.store().remarks(kind, [subject]).get(subject, [])
            user = self._desk.user_or_none()
        except SQLAlchemyError as error:
            self._shown.object = f"<p>Remarks are unavailable: {escaped(type(error).__name__)}.</p>"
            return
        self._quiet = True
        for flag, toggle in self._flags.items():
            toggle.value = any(one.flag == flag and one.user == (user or "") for one in remarks)
            toggle.disabled = user is None
        self._note.disabled = self._add.disabled = user is None
        self._quiet = False
        self._shown.object = f"<h2>Remarks on {escaped(label)}</h2>" + (_listed(remarks) or "<p>None.</p>")

    def toggle(self, flag: str) -> None:
        """Set or remove a flag, as its button does."""
        if flag in self._flags and not self._flags[flag].disabled and self._subject is not None:
            self._flags[flag].value = not self._flags[flag].value

    def _on_flag(self, flag: Any, on: bool) -> None:
        self._write(lambda store, subject, user: store.set_flag(*subject, flag, on, user))

    def _on_note(self, event: Any) -> None:
        text = self._note.value_input
        if text.strip():
            self._write(lambda store, subject, user: store.add_note(*subject, text, user))
            self._note.value = self._note.value_input = ""

    def _write(self, how: Callable[[Any, tuple[SubjectKind, str], str], None]) -> None:
        if self._quiet or self._subject is None:
            return
        try:
            how(self._desk.store(), self._subject, self._desk.user())
        except RemarkError as error:
            self._tell(f"Nothing was written: {error}.")
        except SQLAlchemyError as error:
            self._tell(
                f"Nothing was written: the database of remarks is unavailable ({type(error).__name__})."
            )
        self.show(*self._subject, self._label)
        if self._on_change is not None:
            self._on_change()


def badges(remarks: Sequence[Remark]) -> str:
    """Return flags and the number of notes as HTML; empty without remarks."""
    flags = [flag for flag in FLAGS if any(one.flag == flag for one in remarks)]
    notes = sum(1 for one in remarks if one.note)
    words = [f"{'✓' if flag == 'seen' else '⚠'} {flag}" for flag in flags]
    if notes:
        words.append(f"✎ {notes} note{'s' if notes > 1 else ''}")
    return " ".join(f'<span class="badge">{escaped(word)}</span>' for word in words)


def _listed(remarks: Sequence[Remark]) -> str:
    items = "".join(
        f"<li><b>{escaped(one.flag or one.note, 1000)}</b> "
        f"<small>{escaped(one.user or 'without a name')}, {escaped(utc(one.written))} UTC</small></li>"
        for one in remarks
    )
    return f"<ul>{items}</ul>" if items else ""

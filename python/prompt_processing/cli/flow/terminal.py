"""Report a flow on a terminal, or as lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from prompt_processing.flows.run import Table

__all__ = ["TerminalReporter"]

_MOST_ROWS = 50


class TerminalReporter:
    """Sentences and tables on standard output; bars on a terminal, and a line for each tenth elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._out = Console(highlight=False, soft_wrap=True)
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, object] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Write a line."""
        self._out.print(text, markup=False)

    def table(self, table: Table) -> None:
        """Write a table, long ones shortened."""
        from rich.table import Table as RichTable

        shown = RichTable(title=table.title, title_justify="left", box=None)
        for name, value in table.rows[0].items():
            shown.add_column(name, justify="right" if isinstance(value, int | float) else "left")
        for row in table.rows[:_MOST_ROWS]:
            shown.add_row(*(_text(value) for value in row.values()))
        self._out.print(shown, markup=False)
        if len(table.rows) > _MOST_ROWS:
            self.say(f"... and {len(table.rows) - _MOST_ROWS} more rows")

    def progress(self, what: str, done: int, total: int) -> None:
        """Move a bar."""
        if not self._console.is_terminal:
            tenth = max(1.0, total / 10)
            if done and (done == total or done // tenth > (done - 1) // tenth):
                self._console.print(f"{done} of {total} {what}", markup=False)
            return
        from rich.progress import TaskID

        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        number = self._tasks[what]
        assert isinstance(number, int)
        self._bars.update(TaskID(number), completed=done, total=total)


def _text(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))

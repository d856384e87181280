"""A process that watches a folder with the pipelines of `butler_world`, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

import butler_world as world

from prompt_processing.watch.arrivals import Folder
from prompt_processing.watch.context import WatchContext, WatchOptions
from prompt_processing.watch.journal import Journal
from prompt_processing.watch.lines import line
from prompt_processing.watch.service import Report, Watch


def tell(report: Report) -> None:
    """Print the line of an image."""
    print(line(report), flush=True)


def main(folder: Path) -> None:
    """Process the raws in ``incoming``."""
    work = folder / "work"
    options = WatchOptions(str(folder / "central"), world.INSTRUMENT, work, pipelines=folder / "pipelines")
    context = WatchContext(options, world.small_camera())
    with Journal(work / "journal.db") as journal:
        watch = Watch(Folder(folder / "incoming"), journal, context, world.INSTRUMENT, tell=tell)
        watch.run(Event(), 0.05, once=True)
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

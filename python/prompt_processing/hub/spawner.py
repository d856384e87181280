"""Notebook servers as processes of this machine, each in a home folder with its own copy of the tutorials."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Unicode

__all__ = ["NightSpawner", "prepare_home"]

TUTORIALS = "tutorials"


class NightSpawner(SimpleLocalProcessSpawner):
    """Start a person's notebook server."""

    notebooks = Unicode(help="Folder of the tutorials; empty for none.").tag(config=True)

    async def start(self) -> Any:
        """Prepare the home folder, then start the server."""
        prepare_home(Path(self.home_dir), Path(self.notebooks) if self.notebooks else None)
        return await super().start()


def prepare_home(home: Path, notebooks: Path | None) -> None:
    """Create a home folder, and add the tutorials that it does not have.

    Parameters
    ----------
    home
        The folder; what is in it stays as it is.
    notebooks
        Folder of the tutorials.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if notebooks is None:
        return
    (home / TUTORIALS).mkdir(exist_ok=True)
    for path in sorted(notebooks.glob("*.ipynb")):
        mine = home / TUTORIALS / path.name
        # A tutorial may have been edited: then it is the person's own.
        if not mine.exists():
            shutil.copyfile(path, mine)

"""Keep the services running after the night, until the user has seen enough."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from prompt_processing.services.private import write_private

from .story import DemoOptions
from .world import World

__all__ = ["stay"]


def stay(options: DemoOptions, world: World, console: Console) -> None:
    """Print how to reach the services, and wait until interrupted.

    Parameters
    ----------
    options
        The demo's options.
    world
        The running services.
    console
        Where it prints.
    """
    exports = _exports(world.environment)
    path = world.folders.output / "environment.sh"
    # It may hold credentials.
    write_private(path, exports)
    log = world.folders.logs / f"{'activator' if options.platform == 'knative' else 'worker-1'}.log"
    console.print(
        f"""
[bold]The services run until you press Ctrl-C.[/bold] In another terminal:

    source {path}
    prompt logs -f {log}
    prompt tester upload {options.instrument} 1          # another visit
    butler query-datasets $CENTRAL_REPO "*" --collections {world.output_collection()}
    prompt repo check
    prompt apdb status
    prompt inspect
    prompt navigator {world.folders.output}          # also when the services have stopped
""",
        highlight=False,
        soft_wrap=True,
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Stopping the services.")


def _exports(environment: Mapping[str, str]) -> str:
    names = [*environment, *(name for name in os.environ if name.startswith("AWS_"))]
    values = {name: environment.get(name) or os.environ[name] for name in names}
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(values.items())]
    # The programs that the demo itself runs.
    return "".join([f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n", *exports])

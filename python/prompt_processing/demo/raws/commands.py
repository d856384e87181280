"""Run the commands, each in a process of its own, as a user would."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from prompt_processing.demo.processes import ProcessFailedError, end_with_parent
from prompt_processing.demo.progress import Progress
from prompt_processing.instruments.description.registry import SEARCH_PATH_VARIABLE

__all__ = ["CommandLine", "Ran", "enter_solved", "run_command"]

_OTHER_PLACES = ("AP_KAFKA_", "MP_SKY_URL", "EXPORT_TYPE_REGEXP", "SATTLE_URI_BASE", "KAFKA_", "CONFIG_APDB")
"""Beginnings of variables in the caller's shell that would lead the commands to other services."""

_SOLVED = re.compile(r"^  look at .*: (parity_flipped_x|plate_scale_arcsec_per_mm): (\S+)$", re.MULTILINE)
_SOLVED_ROTATION = re.compile(r"^  look at .*: header\.rotation: constant: (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command.

    Attributes
    ----------
    words
        Words after ``prompt``; a word with ``*`` stands for the files that it matches.
    fails_with
        Exit statuses, besides 0, that are not failures.
    """

    words: tuple[str, ...]
    fails_with: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return the line as a user types it."""
        # Patterns are for the shell, and must not be quoted.
        return " ".join(
            ["prompt", *(word if "*" in word or "[" in word else shlex.quote(word) for word in self.words)]
        )

    def arguments(self, folder: Path) -> list[str]:
        """Return the words with the files in place of patterns."""
        return [
            argument
            for word in self.words
            for argument in (
                sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else [word]
            )
        ]


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has run.

    Attributes
    ----------
    line
        As a user types it.
    output
        What it printed, without its log.
    """

    line: str
    output: str = field(repr=False)


def run_command(command: CommandLine, folder: Path, logs: Path, progress: Progress) -> Ran:
    """Run a command in a folder, and show what it prints.

    Raises
    ------
    ProcessFailedError
        Raised if the command fails, with the end of its output.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_OTHER_PLACES)
    } | {SEARCH_PATH_VARIABLE: str(folder / "cameras")}
    (folder / "cameras").mkdir(exist_ok=True)
    progress.report(f"[bold]$ {str(command).replace('[', '\\[')}[/bold]")
    name = "-".join(word for word in command.words[:2] if not word.startswith("-"))
    log = logs / f"{len(list(logs.iterdir())):02d}-{re.sub(r'[^\w-]+', '-', name)}.log"
    with log.open("w") as errors:
        status, output = _run(
            [sys.executable, "-m", "prompt_processing", *command.arguments(folder)],
            folder,
            environment,
            errors,
        )
    for line in output.splitlines():
        progress.report(f"    {line.replace('[', '\\[')}")
    if status not in (0, *command.fails_with):
        end = "\n".join(log.read_text().splitlines()[-5:])
        raise ProcessFailedError(f"{command} ended with {status}; see {log}\n{end}")
    return Ran(str(command), output)


def _run(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], errors: IO[str]
) -> tuple[int, str]:
    """Run a process to its end, and return its exit status and what it printed.

    It has its own process group, which ends at once if this process is interrupted.
    """
    with subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=errors,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def enter_solved(check: str, description: Path) -> list[str]:
    """Enter what ``prompt instrument check`` found into the description, as a user does with an editor.

    Parameters
    ----------
    check
        Output of the command.
    description
        File ``instrument.yaml``.

    Returns
    -------
    changes
        The new lines.
    """
    text = description.read_text(encoding="utf-8")
    changes = [f"{key}: {value}" for key, value in dict(_SOLVED.findall(check)).items()]
    rotations: Sequence[str] = _SOLVED_ROTATION.findall(check)
    if rotations:
        changes.append(f"  rotation: {{constant: {rotations[-1]}}}")
    for change in changes:
        key = change.partition(":")[0]
        text = re.sub(rf"^{key}:.*$", change, text, flags=re.MULTILINE)
    description.write_text(text, encoding="utf-8")
    return [change.strip() for change in changes]

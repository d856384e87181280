"""Audit of the dependencies: what the lock file promises, and what the advisory database knows of it."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_processing.domain.json_text import parse_json

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[\w,.-]+\])?==(?P<version>[\w.!+]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")

NOTHING_FOUND, SOMETHING_FOUND, NOT_ASKED = 0, 1, 2


def problems_of(lock: str) -> list[str]:
    """Find what in a lock file would let something else be installed than was meant.

    Parameters
    ----------
    lock : `str`
        Content of the file.

    Returns
    -------
    problems : `list` [`str`]
        Requirements without a version or a hash, from elsewhere than an index, or named twice.
    """
    problems = []
    seen: dict[str, str] = {}
    # Comments, and lines that go on.
    lines = [line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        words = entry.split(" #")[0].split()
        if words[0].startswith("-"):
            problems.append(f"{words[0]}: an option may change where packages come from")
            continue
        requirement = words[0].rstrip(";")
        match = _PINNED.fullmatch(requirement)
        if match is None:
            problems.append(f"{requirement}: not pinned to a version of an index")
            continue
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        if ";" not in entry and name in seen:
            problems.append(f"{name}: named twice, {seen[name]} and {match['version']}")
        seen[name] = match["version"]
        if not any(_HASH.fullmatch(word) for word in words):
            problems.append(f"{requirement}: has no hash")
    if not lines:
        problems.append("no requirement at all")
    return problems


def ask_database(lock: Path) -> int:
    """Ask for advisories; what is told goes to standard output.

    Parameters
    ----------
    lock : `~pathlib.Path`
        The lock file.

    Returns
    -------
    status : `int`
        Of the audit.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json"]
    result = subprocess.run(
        [*command, "--progress-spinner", "off", "--requirement", str(lock)],
        text=True,
        capture_output=True,
        check=False,
    )
    try:
        dependencies = parse_json(result.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        sys.stderr.write(result.stderr)
        dependencies = []
    return report(dependencies)


def report(dependencies: Sequence[Mapping[str, Any]]) -> int:
    """Tell what the database knows.

    Parameters
    ----------
    dependencies : sequence of mapping
        As pip-audit gives them: each with ``vulns``, or with a ``skip_reason`` if nothing could be learnt of
        it. Where an index has no advisories, pip-audit skips everything and finds nothing.

    Returns
    -------
    status : `int`
        Of the audit.
    """
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    n_asked = len(dependencies) - len(skipped)
    advisories = [
        f"{one['name']} {one['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory.get('fix_versions', ())) or 'no version yet'}"
        for one in dependencies
        for advisory in one.get("vulns", ())
    ]
    for advisory in advisories:
        sys.stdout.write(f"{advisory}\n")
    sys.stdout.write(f"{len(advisories)} advisories for {n_asked} packages.\n")
    if advisories:
        return SOMETHING_FOUND
    if skipped or not n_asked:
        sys.stderr.write(
            f"The advisory database gave no answer for {len(skipped) or 'all'} packages: nothing is known of "
            "vulnerabilities in them.\nRun bin/audit where pypi.org can be reached.\n"
        )
        return NOT_ASKED
    return NOTHING_FOUND


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the dependencies.

    Parameters
    ----------
    arguments : sequence of `str`, optional
        Of the command line.

    Returns
    -------
    status : `int`
        0 if nothing was found, 1 if something was, 2 if the database could not be asked.
    """
    parser = argparse.ArgumentParser(prog="bin/audit", description="Audit what requirements.lock names.")
    parser.add_argument("--offline", action="store_true", help="check the file only, and say so")
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"))
    options = parser.parse_args(arguments)
    problems = problems_of(options.lock.read_text(encoding="utf-8"))
    for problem in problems:
        sys.stderr.write(f"{options.lock}: {problem}\n")
    if problems:
        return SOMETHING_FOUND
    sys.stdout.write(f"{options.lock}: every requirement has its version and its hashes.\n")
    if options.offline:
        sys.stdout.write("The advisory database was not asked: nothing is known of vulnerabilities.\n")
        return NOTHING_FOUND
    return ask_database(options.lock)


if __name__ == "__main__":
    sys.exit(main())

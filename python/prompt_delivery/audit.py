"""Audit the dependencies: pins and hashes of the lock file, and known vulnerabilities."""

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
    """Find entries of a lock file that could install unintended files.

    Parameters
    ----------
    lock
        Content of the lock file.

    Returns
    -------
    problems
        Requirements without a version or a hash, from outside an index, or listed twice.
    """
    problems = []
    seen: dict[str, str] = {}
    # Drop comments and join continued lines.
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
        problems.append("no requirements")
    return problems


def ask_database(lock: Path) -> int:
    """Query the advisory database, and print the result.

    Parameters
    ----------
    lock
        The lock file.

    Returns
    -------
    status
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
    """Print the advisories.

    Parameters
    ----------
    dependencies
        Output of pip-audit: each has ``vulns``, or a ``skip_reason`` if the database has no information. With
        an index without advisories, pip-audit skips all packages and finds nothing.

    Returns
    -------
    status
        Of the audit.
    """
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    n_asked = len(dependencies) - len(skipped)
    advisories = [
        f"{one['name']} {one['version']}: {advisory['id']}, fixed in "
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
            f"The advisory database did not respond for {len(skipped) or 'all'} packages: their "
            "vulnerabilities are unknown.\nRun bin/audit where pypi.org can be reached.\n"
        )
        return NOT_ASKED
    return NOTHING_FOUND


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the dependencies.

    Parameters
    ----------
    arguments
        Of the command line.

    Returns
    -------
    status
        0 without findings, 1 with findings, 2 if the database could not be queried.
    """
    parser = argparse.ArgumentParser(prog="bin/audit", description="Audit the packages in requirements.lock.")
    parser.add_argument(
        "--offline", action="store_true", help="check only the lock file, without the advisory database"
    )
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"))
    options = parser.parse_args(arguments)
    problems = problems_of(options.lock.read_text(encoding="utf-8"))
    for problem in problems:
        sys.stderr.write(f"{options.lock}: {problem}\n")
    if problems:
        return SOMETHING_FOUND
    sys.stdout.write(f"{options.lock}: every requirement has its version and its hashes.\n")
    if options.offline:
        sys.stdout.write("The advisory database was not queried: vulnerabilities are unknown.\n")
        return NOTHING_FOUND
    return ask_database(options.lock)


if __name__ == "__main__":
    sys.exit(main())

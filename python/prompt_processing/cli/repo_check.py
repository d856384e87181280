"""``prompt-check-repo``: what a central repository lacks for prompt processing, and what to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence

from astropy.time import Time
from lsst.daf.butler import Butler

from prompt_processing.apdb.administration import status
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments.camera import camera_names, load_camera
from prompt_processing.repository.check import Finding, Severity, check_repository

from .repo_dataset_types import named_pipelines

_LOG = logging.getLogger("lsst.repository.check")


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at a repository; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="prompt-check-repo",
        description="Look at all that the workers of an instrument expect of their central repository and of "
        "the APDB. Nothing is changed.",
        epilog="Exit status: 0 when visits can be processed, 1 when not. What is left away is taken from the "
        "worker's own settings in the environment.",
    )
    parser.add_argument("repo", nargs="?", default=os.environ.get("CENTRAL_REPO"), help="(CENTRAL_REPO)")
    parser.add_argument(
        "--instrument", choices=camera_names(), default=os.environ.get("RUBIN_INSTRUMENT") or None
    )
    parser.add_argument("--skymap", default=os.environ.get("SKYMAP") or None, help="name (SKYMAP)")
    parser.add_argument(
        "--pipeline", action="append", default=[], metavar="FILE", help="pipeline, or folder of pipelines"
    )
    parser.add_argument("--apdb", default=os.environ.get("CONFIG_APDB"), help="configuration (CONFIG_APDB)")
    parser.add_argument("--when", type=Time, help="when calibrations have to be valid (now)")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    if not options.repo or not options.instrument:
        parser.error("name a repository and --instrument, or set CENTRAL_REPO and RUBIN_INSTRUMENT")
    use_butler_types()
    try:
        with Butler.from_config(options.repo, writeable=False) as butler:
            findings = check_repository(
                butler,
                load_camera(options.instrument),
                pipelines=named_pipelines(options.pipeline),
                sky_map=options.skymap,
                when=options.when,
            )
    except (RepositoryProblemError, FileNotFoundError) as error:
        _LOG.critical("%s", error)
        return 1
    if options.apdb:
        findings.append(_apdb(options.apdb))
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    return 1 if any(one.severity is Severity.PROBLEM for one in findings) else 0


def _apdb(config: str) -> Finding:
    try:
        found = status(config)
    except RepositoryProblemError as error:
        return Finding(Severity.PROBLEM, "APDB", str(error), "prompt-apdb create")
    message = f"{found.database}, schema {found.schema_version}"
    if not found.compatible:
        return Finding(
            Severity.PROBLEM,
            "APDB",
            f"{message}, which the installed {found.installed_version} does not fit",
            "a release that was made for it, or a migration",
        )
    return Finding(Severity.OK, "APDB", message)


def _print(findings: Sequence[Finding]) -> None:
    for one in findings:
        print(f"{one.severity.value:<8} {one.subject}: {one.message}")
        if one.remedy:
            print(f"{'':<8} -> {one.remedy}")
    counts = {kind: sum(one.severity is kind for one in findings) for kind in Severity}
    print(f"{counts[Severity.PROBLEM]} problem(s), {counts[Severity.WARNING]} warning(s)")

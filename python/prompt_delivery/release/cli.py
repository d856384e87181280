"""``bin/release``: print tags, labels and notes of containers and releases."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import ReleaseError
from .labels import image_labels
from .notes import PreviousRelease, changes_of, check_release, previous_release, release_notes
from .project_history import ProjectHistory
from .recorded_versions import RECORD, installed_schemas, recorded_versions
from .release_version import ReleaseVersion
from .requirements import needed_distributions, select_from_lock
from .stack_label import StackLabel
from .tags import Source, base_tags, service_tags

__all__ = ["main"]

_log = logging.getLogger("lsst.release")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the requested output; return the exit status, 1 if it must not be published."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        output = options.run(options)
    except ReleaseError as error:
        _log.critical("%s", error)
        return 1
    sys.stdout.write(output)
    return 0


def _base_tags(options: argparse.Namespace) -> str:
    versions = recorded_versions(options.project)
    requested = StackLabel.parse(options.stack) if options.stack else None
    return _lines(base_tags(_source(options), versions.stack, requested, options.latest))


def _service_tags(options: argparse.Namespace) -> str:
    stack = StackLabel.parse(options.stack) if options.stack else None
    return _lines(service_tags(_source(options), options.base_tag, options.base_tag_list.split(), stack))


def _release_tags(options: argparse.Namespace) -> str:
    return _lines([str(ReleaseVersion.parse(options.version))])


def _labels(options: argparse.Namespace) -> str:
    history = ProjectHistory(options.project)
    labels = image_labels(
        options.kind,
        recorded_versions(options.project),
        options.version or history.version(),
        history.commit(),
        history.committed(),
        options.source,
    )
    return _lines([f"{name}={value}" for name, value in labels.items()])


def _version(options: argparse.Namespace) -> str:
    return ProjectHistory(options.project).version() + "\n"


def _requirements(options: argparse.Namespace) -> str:
    names = needed_distributions(options.extra) | set(options.also)
    without = needed_distributions() if options.beyond else set()
    lock = (options.project / "requirements.lock").read_text("utf-8")
    return select_from_lock(lock, names - without)


def _check(options: argparse.Namespace) -> str:
    version = ReleaseVersion.parse(options.version)
    ProjectHistory(options.project).require_free(version)
    check_release(version, recorded_versions(options.project), _previous(options, version))
    return f"{version} may be released.\n"


def _notes(options: argparse.Namespace) -> str:
    version = ReleaseVersion.parse(options.version)
    ProjectHistory(options.project).require_free(version)
    versions = recorded_versions(options.project)
    previous = _previous(options, version)
    check_release(version, versions, previous)
    if options.on:
        ProjectHistory(options.project).require_on(options.on)
    changes = changes_of(version, options.changes.read_text("utf-8")) if options.changes else ""
    commits = ProjectHistory(options.project).summaries_since(previous.version if previous else None)
    return release_notes(version, versions, previous, changes, commits)


def _record(options: argparse.Namespace) -> str:
    path = options.project / RECORD
    text = json.dumps(installed_schemas(), indent=2) + "\n"
    if options.check and path.read_text("utf-8") != text:
        raise ReleaseError(
            f"{RECORD} does not match the installed packages: update it with bin/release record."
        )
    path.write_text(text, "utf-8")
    return text


def _stack(options: argparse.Namespace) -> str:
    return recorded_versions(options.project).stack.name + "\n"


def _constraints(options: argparse.Namespace) -> str:
    label = StackLabel.parse(options.stack)
    packages = recorded_versions(options.project).packages
    newest = label.newest_version(int(packages["lsst-daf-butler"].partition(".")[0]))
    middleware = sorted(name for name in packages if name.startswith("lsst-"))
    return _lines([f"{name}<={newest}" for name in middleware]) if newest else ""


def _previous(options: argparse.Namespace, version: ReleaseVersion) -> PreviousRelease | None:
    history = ProjectHistory(options.project)
    found = previous_release(version, history.tags())
    return PreviousRelease(found, history.versions_of(found)) if found else None


def _source(options: argparse.Namespace) -> Source:
    if options.branch:
        return Source(options.branch, options.pull_request, options.automatic)
    return Source.of_workflow(os.environ) or Source(ProjectHistory(options.project).branch())


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/release", description=__doc__)
    parser.add_argument(
        "--project", type=Path, default=Path(), help="folder of the checkout; default: current folder"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    base = command("base-tags", _base_tags, "print the tags of a base container, one per line")
    service = command("service-tags", _service_tags, "print the tags of a service container, one per line")
    for made in (base, service):
        made.add_argument("--branch", help="branch; default: the workflow's, or the checked-out branch")
        made.add_argument("--pull-request", action="store_true", help="--branch belongs to a pull request")
        made.add_argument(
            "--automatic", action="store_true", help="the build of --branch was not requested by a person"
        )
        made.add_argument("--stack", default="", metavar="LABEL", help="label of the middleware")
    base.add_argument("--latest", action="store_true", help="add the tag latest")
    service.add_argument(
        "--base-tag", default="latest", help="tag of the base container; default: %(default)s"
    )
    service.add_argument(
        "--base-tag-list",
        default="latest",
        metavar="TAGS",
        help="tags of all bases of this build, separated by blanks",
    )
    labels = command("labels", _labels, "print the labels of a container as NAME=VALUE, one per line")
    labels.add_argument("kind", choices=("base", "service", "board", "navigator", "demo"))
    labels.add_argument("--version", default="", help="version; default: from the last tag")
    labels.add_argument("--source", default="", metavar="URL", help="URL of the project")
    requirements = command(
        "requirements", _requirements, "print the part of the lock file that a container installs"
    )
    requirements.add_argument("--extra", action="append", default=[], help="additional extra of the project")
    requirements.add_argument("--also", action="append", default=[], help="additional distribution")
    requirements.add_argument("--beyond", action="store_true", help="omit requirements of the service itself")
    for name, run, text in (
        ("release-tags", _release_tags, "print the tags of both containers of a release"),
        ("check", _check, "check whether this commit may be released"),
        ("notes", _notes, "print the notes of a release of this commit"),
    ):
        made = command(name, run, text)
        made.add_argument("version")
    made.add_argument("--on", metavar="BRANCH", help="refuse a commit that is not on this branch")
    made.add_argument("--changes", type=Path, metavar="FILE", help="change log")
    record = command("record", _record, f"write the installed schemas' versions to {RECORD}")
    record.add_argument("--check", action="store_true", help="fail if they differ")
    command("version", _version, "print the project's version, from the last tag")
    command("stack", _stack, "print the label of the locked middleware")
    constraints = command("constraints", _constraints, "print the newest versions that a label allows")
    constraints.add_argument("stack", metavar="LABEL")
    return parser


if __name__ == "__main__":
    sys.exit(main())

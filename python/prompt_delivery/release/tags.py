"""Tags under which containers are published.

A base container has the label of its middleware (``w_2026_43``), also ``w_latest`` or ``d_latest`` if that
was requested by name, and ``latest`` for an automatic build of ``main`` or on request. A service container
has the tags of its base. Builds of a branch have the same tags with a prefix: the branch's ticket, or the
topic of a user's branch. A release has its version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from .errors import ReleaseError
from .release_version import ReleaseVersion
from .stack_label import StackLabel

__all__ = ["LATEST", "Source", "base_tags", "service_tags"]

LATEST = "latest"

_TICKET = re.compile(r"(?:^|/)([A-Z]{2,}-\d+)(?=$|[/_.-])")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]+")
_LENGTH = 128


@dataclass(frozen=True)
class Source:
    """Source that a container is built from.

    Attributes
    ----------
    branch
        Name of the branch, without ``refs/heads/``.
    pull_request
        Whether it is built for a pull request. A fork's branch may also be called ``main``.
    automatic
        Whether the build was not requested by a person.
    """

    branch: str
    pull_request: bool = False
    automatic: bool = False

    @classmethod
    def of_workflow(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the source of a GitHub workflow; `None` outside a workflow.

        Parameters
        ----------
        environment
            Environment variables.
        """
        event = environment.get("GITHUB_EVENT_NAME")
        match event:
            case None | "":
                return None
            case "pull_request" | "pull_request_target":
                return cls(environment["GITHUB_HEAD_REF"], pull_request=True, automatic=True)
        return cls(environment["GITHUB_REF_NAME"], automatic=event == "push")

    @property
    def is_main(self) -> bool:
        """Whether the source is the project's main branch."""
        return self.branch == "main" and not self.pull_request

    @property
    def prefix(self) -> str:
        """Prefix of the tags: empty for ``main``, otherwise the ticket or the branch's topic.

        Raises
        ------
        ReleaseError
            Raised if the branch's name has no characters that a tag may contain.
        """
        if self.is_main:
            return ""
        ticket = _TICKET.search(self.branch)
        name = ticket[1] if ticket else self.branch.rpartition("/")[2]
        name = _NOT_IN_TAGS.sub("-", name).strip("-.")
        if not name:
            raise ReleaseError(
                f"The name of the branch {self.branch!r} has no characters for a tag: rename the branch."
            )
        return f"{name}-"

    def tag(self, name: str) -> str:
        """Return a tag with the branch's prefix, added if missing."""
        tag = name if name.startswith(self.prefix) else self.prefix + name
        if len(tag) > _LENGTH:
            raise ReleaseError(f"{tag} is too long for a tag ({len(tag)} > {_LENGTH}): rename the branch.")
        return tag


def base_tags(
    source: Source, stack: StackLabel, requested: StackLabel | None = None, latest: bool = False
) -> list[str]:
    """Return the tags of a base container.

    Parameters
    ----------
    source
        Source of the build.
    stack
        Label of the container's middleware.
    requested
        Requested label of the middleware.
    latest
        Whether ``latest`` was requested.

    Raises
    ------
    ReleaseError
        Raised if the container's middleware is not the requested one.
    """
    if stack.is_floating:
        raise ReleaseError(f"{stack.name} is not a specific release of the middleware.")
    names = [stack.name]
    if requested is not None and requested != stack:
        if requested.name.startswith("d_"):
            # A daily has the packages of that day's weekly, so both labels apply.
            names.append(requested.name)
        elif requested.is_floating:
            names.append(requested.name)
        else:
            raise ReleaseError(
                f"{requested.name} was requested, but requirements.lock has {stack.name}: "
                f"update it with bin/refresh-lock --stack {requested.name}."
            )
    if latest or (source.is_main and source.automatic):
        names.append(LATEST)
    return [source.tag(name) for name in names]


def service_tags(
    source: Source, base_tag: str, base_tag_list: Sequence[str], stack: StackLabel | None = None
) -> list[str]:
    """Return the tags of a service container.

    Parameters
    ----------
    source
        Source of the build.
    base_tag
        Tag of the base.
    base_tag_list
        Tags of all bases of this build.
    stack
        Label of the base's middleware, if known.

    Raises
    ------
    ReleaseError
        Raised if the list lacks the base, is ambiguous, or would publish a branch's base as ``main``.
    """
    check_base_tags(source, base_tag_list)
    if base_tag not in base_tag_list:
        raise ReleaseError(f"{base_tag} is not in BASE_TAG_LIST ({' '.join(base_tag_list)}).")
    names = [base_tag]
    # Two bases must not claim one tag. With several bases, only one that was requested by the label gets
    # it as a tag.
    if stack is not None and not stack.is_floating and len(base_tag_list) == 1 and stack.name != base_tag:
        names.append(stack.name)
    return list(dict.fromkeys(source.tag(name) for name in names))


def check_base_tags(source: Source, base_tag_list: Sequence[str]) -> None:
    """Check the list of bases.

    Raises
    ------
    ReleaseError
        Raised if it is empty, has duplicates, or has a branch's base on ``main``.
    """
    if not base_tag_list:
        raise ReleaseError("BASE_TAG_LIST is empty: name at least one base, such as latest.")
    if len(set(base_tag_list)) < len(base_tag_list):
        raise ReleaseError(f"BASE_TAG_LIST names a base twice: {' '.join(base_tag_list)}.")
    if not source.is_main:
        return
    for tag in base_tag_list:
        if not _is_published_by_main(tag):
            raise ReleaseError(
                f"BASE_TAG_LIST has {tag}, the base of a branch: main is built on {LATEST}, a label of the "
                "middleware or a release only. A temporary override must not be merged."
            )


def _is_published_by_main(tag: str) -> bool:
    if tag == LATEST:
        return True
    for parse in (StackLabel.parse, ReleaseVersion.parse):
        try:
            parse(tag)
        except ReleaseError:
            continue
        return True
    return False

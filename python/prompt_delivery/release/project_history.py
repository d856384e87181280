"""History of the project in git: commits, tags and earlier versions of files."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from .errors import ReleaseError
from .project_version import TAG_PATTERN, describe_version
from .recorded_versions import FORMER_RECORD, RECORD, RecordedVersions, read_versions
from .release_version import ReleaseVersion

__all__ = ["ProjectHistory"]


class ProjectHistory:
    """History of a checkout.

    Parameters
    ----------
    project
        Folder of the checkout.
    """

    def __init__(self, project: Path) -> None:
        self._project = project

    def commit(self) -> str:
        """Return the commit's hash, with ``-dirty`` if tracked files differ from it."""
        return self._git("rev-parse", "HEAD") + ("-dirty" if self._is_dirty() else "")

    def version(self) -> str:
        """Return the version of the checkout, from the last release's tag."""
        # Without a tag, git describe fails.
        described = self._git("tag", "--merged", "HEAD", "--list", TAG_PATTERN)
        return describe_version(
            self._git("describe", "--tags", "--long", "--match", TAG_PATTERN) if described else "",
            int(self._git("rev-list", "--count", "HEAD")),
            self._git("rev-parse", "HEAD"),
            self._is_dirty(),
            datetime.datetime.now(datetime.UTC).date(),
        )

    def require_free(self, version: ReleaseVersion) -> None:
        """Require that no other commit has the release's tag, and that this commit has no other release.

        Raises
        ------
        ReleaseError
            Raised otherwise.
        """
        here = self._git("tag", "--points-at", "HEAD").split()
        if str(version) in here:
            return
        if str(version) in self.tags():
            raise ReleaseError(
                f"The tag {version} is on another commit: check out that commit, or choose another version."
            )
        for tag in here:
            try:
                other = ReleaseVersion.parse(tag)
            except ReleaseError:
                continue
            if other.is_final or not version.is_final:
                raise ReleaseError(f"This commit is already release {other}.")

    def committed(self) -> datetime.datetime:
        """Return the time of the commit."""
        return datetime.datetime.fromtimestamp(int(self._git("log", "-1", "--format=%ct")), datetime.UTC)

    def branch(self) -> str:
        """Return the name of the checked-out branch."""
        return self._git("rev-parse", "--abbrev-ref", "HEAD")

    def require_on(self, branch: str) -> None:
        """Require that a branch, local or of the remote origin, contains the commit.

        Raises
        ------
        ReleaseError
            Raised if it does not.
        """
        refs = (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}")
        if not self._git("for-each-ref", "--contains", "HEAD", *refs):
            raise ReleaseError(f"This commit is not on {branch}: releases are made from there.")

    def tags(self) -> list[str]:
        """Return all tags."""
        return self._git("tag", "--list").split()

    def versions_of(self, version: ReleaseVersion) -> RecordedVersions:
        """Return the versions of a release's components.

        Raises
        ------
        ReleaseError
            Raised if its commit does not record them.
        """
        record = RECORD if self._git("ls-tree", "--name-only", str(version), RECORD) else FORMER_RECORD
        return read_versions(
            *(self._git("show", f"{version}:{name}") for name in ("requirements.lock", record))
        )

    def summaries_since(self, version: ReleaseVersion | None) -> list[str]:
        """Return the subjects of the commits since a release, newest first; of all commits if `None`."""
        span = f"{version}..HEAD" if version else "HEAD"
        return self._git("log", "--no-merges", "--format=%s (%an)", span).splitlines()

    def _is_dirty(self) -> bool:
        return bool(self._git("status", "--porcelain", "--untracked-files=no"))

    def _git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(self._project), *arguments], capture_output=True, text=True, check=True
            )
        except OSError as error:
            raise ReleaseError(f"git cannot be run: {error}") from error
        except subprocess.CalledProcessError as error:
            raise ReleaseError(f"git {' '.join(arguments)}: {error.stderr.strip()}") from error
        return done.stdout.strip()

"""Files of alerts: what is owed to the broker until it has it, whatever becomes of the worker.

A file holds the alerts of one visit-detector, ``<diaSourceId>.avro`` each, in a plain tar. Its name is
``<visit>_<detector>.<8 letters>.underway`` from before the APDB's commit until every alert is acknowledged;
it ends with ``.kept.tar`` once it is known that the commit has happened and that its alerts wait for another
attempt. Who writes or sends a file holds its lock, which ends with the process.

Whatever is kept is sent to the world's brokers. So the folder is private, and a file in it counts only if it
belongs to this user.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import stat
import tarfile
import uuid
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import pandas as pd

from prompt_processing.apdb.write import AlreadyInApdbError
from prompt_processing.domain.errors import NonRetriableError, RetriableError
from prompt_processing.transport.private_folder import make_private, require_private

from .packets import Alert

__all__ = [
    "KEPT",
    "UNDERWAY",
    "AlertFile",
    "AlertFileError",
    "kept_files",
    "read_alerts",
    "remove_unfinished",
    "underway_files",
    "write_underway",
]

_LOG = logging.getLogger("lsst.prompt_processing.alerts")

UNDERWAY = ".underway"
KEPT = ".kept.tar"
_UNFINISHED = ".part"
_ORIGIN = "origin.json"
_KEYS = ("visit", "detector", "timeProcessedMjdTai", "alerts")
_PACKET = ".avro"


class AlertFileError(OSError):
    """A file is not one of alerts."""


@dataclass(slots=True)
class AlertFile:
    """The alerts of a visit-detector on disk, and the lock on them.

    Attributes
    ----------
    path : `~pathlib.Path`
        Where it is now.
    visit, detector : `int`
        Whose alerts these are.
    processed_mjd : `float`
        ``timeProcessedMjdTai`` of the rows that were to be written with them, days: no other write of this
        visit-detector has it.
    n_alerts : `int`
        How many it holds.
    """

    path: Path
    visit: int
    detector: int
    processed_mjd: float
    n_alerts: int
    _file: BinaryIO

    @classmethod
    def write(
        cls,
        folder: Path,
        visit: int,
        detector: int,
        processed_mjd: float,
        alerts: Iterable[Alert],
        suffix: str,
    ) -> Self:
        """Write alerts; the file is on the disk whole, and locked, or not there.

        Parameters
        ----------
        folder : `~pathlib.Path`
            Made if it is not there; nobody else may be able to write to it.
        visit, detector, processed_mjd
            As the attributes.
        alerts : iterable of `Alert`
            Never more than one of them is in memory for this.
        suffix : `str`
            `UNDERWAY` or `KEPT`.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        make_private(folder)
        path = folder / f"{visit}_{detector}.{uuid.uuid4().hex[:8]}{suffix}"
        unfinished = path.with_name(path.name + _UNFINISHED)
        file = unfinished.open("xb+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                n_alerts = 0
                for alert in alerts:
                    _add(tar, f"{alert.dia_source_id}{_PACKET}", alert.message)
                    n_alerts += 1
                # At the end: where this is, the file is whole.
                origin = (visit, detector, processed_mjd, n_alerts)
                _add(tar, _ORIGIN, json.dumps(dict(zip(_KEYS, origin, strict=True))).encode())
            file.flush()
            os.fsync(file.fileno())
            unfinished.rename(path)
            _sync_folder(folder)
        except BaseException:
            # Told to end in the middle, too: half a file is nobody's.
            unfinished.unlink(missing_ok=True)
            file.close()
            raise
        return cls(path, *origin, file)

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Open a file that nobody holds.

        Returns
        -------
        file : `AlertFile` or `None`
            `None` if somebody holds it or it has gone.

        Raises
        ------
        AlertFileError
            If it is not one of alerts, or not this user's.
        """
        try:
            file = _open_own(path)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):
            file.close()
            return None
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                member = tar.extractfile(_ORIGIN)
                origin = json.loads(member.read()) if member is not None else {}
            visit, detector, processed_mjd, n_alerts = (origin[key] for key in _KEYS)
            return cls(path, visit, detector, processed_mjd, n_alerts, file)
        except (tarfile.TarError, ValueError, KeyError, TypeError) as exc:
            file.close()
            raise AlertFileError(f"{path} is not a whole file of alerts: {exc}") from exc

    def __iter__(self) -> Iterator[Alert]:
        """Go through the alerts, as often as one likes."""
        return read_alerts(self.path)

    def __len__(self) -> int:
        return self.n_alerts

    def remove(self) -> None:
        """Remove it: each of its alerts is acknowledged, or must never be sent."""
        self.path.unlink(missing_ok=True)
        self.release()

    def keep(self) -> None:
        """Leave all of its alerts to whoever sends what is kept."""
        if not self.path.name.endswith(KEPT):
            self.path = self.path.rename(self.path.with_suffix(KEPT))
        self.release()

    def keep_without(self, acknowledged: Container[int]) -> None:
        """Keep those of its alerts that are not acknowledged.

        If there is no room for a new file all stay: better one twice than one never.
        """
        rest = (alert for alert in self if alert.dia_source_id not in acknowledged)
        origin = self.visit, self.detector, self.processed_mjd
        try:
            kept = self.write(self.path.parent, *origin, rest, KEPT)
        except OSError:
            self.keep()
        else:
            self.remove()
            kept.release()

    def judge(self, failure: BaseException) -> None:
        """Remove it if a commit has certainly not happened; where that is not sure, the APDB is asked later.

        Parameters
        ----------
        failure : `BaseException`
            What the write to the APDB ended with.
        """
        refused = isinstance(failure, NonRetriableError) and failure.retry == "useless"
        if refused or isinstance(failure, RetriableError | AlreadyInApdbError):
            self.remove()
        else:
            self.release()

    def release(self) -> None:
        """Leave the file to others, as it is."""
        self._file.close()


def write_underway(
    folder: Path, visit: int, detector: int, processed_mjd: pd.Series, alerts: Iterable[Alert]
) -> AlertFile | None:
    """Put the alerts of a visit-detector on the disk, before the commit that they tell of.

    Parameters
    ----------
    folder, visit, detector, alerts
        As of `AlertFile.write`.
    processed_mjd : `~pandas.Series`
        ``timeProcessedMjdTai`` of the DiaSources, days; the same of all.

    Returns
    -------
    file : `AlertFile` or `None`
        `None` if there are no alerts, or if they cannot be written, which the log tells: without the visit
        there would be none at all.
    """
    if processed_mjd.empty:
        return None
    try:
        return AlertFile.write(folder, visit, detector, float(processed_mjd.iloc[0]), alerts, UNDERWAY)
    except OSError as exc:
        _LOG.error(
            "The alerts of visit %d, detector %d are sent without a copy on disk: %s", visit, detector, exc
        )
        return None


def read_alerts(path: Path) -> Iterator[Alert]:
    """Go through the alerts of a file, whoever holds it."""
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name, packet = os.path.splitext(member.name)
            if packet == _PACKET and (content := tar.extractfile(member)) is not None:
                yield Alert(int(name), content.read())


def underway_files(folder: Path) -> list[Path]:
    """Find the files whose commit is not known to have happened; most belong to a live worker.

    Raises
    ------
    UntrustedFolderError
        Raised if somebody else can have put files there.
    """
    return _files(folder, UNDERWAY)


def kept_files(folder: Path) -> list[Path]:
    """Find the files of alerts that wait to be sent again.

    Raises
    ------
    UntrustedFolderError
        Raised if somebody else can have put files there.
    """
    return _files(folder, KEPT)


def remove_unfinished(folder: Path) -> None:
    """Remove what dead workers were about to write: before the commit that it was for.

    Raises
    ------
    UntrustedFolderError
        Raised if somebody else can have put files there.
    """
    for path in _files(folder, _UNFINISHED):
        try:
            with path.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue


def _files(folder: Path, suffix: str) -> list[Path]:
    try:
        require_private(folder)
    except FileNotFoundError:
        # No alert has been kept yet.
        return []
    return sorted(folder.glob(f"*{suffix}"))


def _open_own(path: Path) -> BinaryIO:
    """Open a file of this user's for reading and writing."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise AlertFileError(f"{path} cannot be read as a file of alerts: {exc.strerror}") from exc
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise AlertFileError(f"{path} is not a file of this user's; its alerts are not sent.")
    return os.fdopen(descriptor, "rb+")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

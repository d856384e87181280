"""Files of alerts, which survive a killed worker until the broker has acknowledged them.

A file is an uncompressed tar archive of the alerts of one visit-detector, with members
``<diaSourceId>.avro``. Its name is
``<visit>_<detector>.<8 letters>.underway`` from before the APDB's commit until every alert is acknowledged.
It ends with ``.kept.tar`` when the commit is known to have happened and the alerts wait for another attempt.
The process that writes or sends a file holds its lock, which ends with the process.

Kept alerts are sent to the public brokers. Therefore the folder is private, and a file in it is used only if
it belongs to this user.
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
    """A file is not a valid file of alerts."""


@dataclass(slots=True)
class AlertFile:
    """The alerts of a visit-detector on disk, with a lock.

    Attributes
    ----------
    path : `~pathlib.Path`
        Current path of the file.
    visit, detector : `int`
        Ids of the alerts' visit and detector.
    processed_mjd : `float`
        ``timeProcessedMjdTai`` of the rows of the same write, days. It identifies the write: no other write
        of this visit-detector has the same value.
    n_alerts : `int`
        Number of alerts in the file.
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
        """Write alerts to a new, locked file, completely or not at all.

        Parameters
        ----------
        folder : `~pathlib.Path`
            Folder, created if it does not exist; other users must not be able to write to it.
        visit, detector, processed_mjd
            See the attributes.
        alerts : iterable of `Alert`
            Alerts; at most one of them is in memory at a time.
        suffix : `str`
            `UNDERWAY` or `KEPT`.

        Raises
        ------
        OSError
            If the file cannot be written.
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
                # The last member: its presence shows that the file is complete.
                origin = (visit, detector, processed_mjd, n_alerts)
                _add(tar, _ORIGIN, json.dumps(dict(zip(_KEYS, origin, strict=True))).encode())
            file.flush()
            os.fsync(file.fileno())
            unfinished.rename(path)
            _sync_folder(folder)
        except BaseException:
            # Also after an interruption: half a file is of no use.
            unfinished.unlink(missing_ok=True)
            file.close()
            raise
        return cls(path, *origin, file)

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Open and lock a file that no other process holds.

        Returns
        -------
        file : `AlertFile` or `None`
            `None` if another process holds or has removed it.

        Raises
        ------
        AlertFileError
            If it is not a file of alerts, or does not belong to this user.
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
            raise AlertFileError(f"{path} is not a complete file of alerts: {exc}") from exc

    def __iter__(self) -> Iterator[Alert]:
        """Iterate over the alerts; this may be repeated."""
        return read_alerts(self.path)

    def __len__(self) -> int:
        return self.n_alerts

    def remove(self) -> None:
        """Remove the file: each of its alerts is acknowledged, or must never be sent."""
        self.path.unlink(missing_ok=True)
        self.release()

    def keep(self) -> None:
        """Keep all alerts for a later attempt to send them."""
        if not self.path.name.endswith(KEPT):
            self.path = self.path.rename(self.path.with_suffix(KEPT))
        self.release()

    def keep_without(self, acknowledged: Container[int]) -> None:
        """Keep the alerts that are not acknowledged.

        If the new file cannot be written, keep all of them: an alert may be sent twice, but must not be lost.
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
        """Remove the file if the commit certainly did not happen; otherwise leave it for a later check.

        Parameters
        ----------
        failure : `BaseException`
            Exception of the write to the APDB.
        """
        refused = isinstance(failure, NonRetriableError) and failure.retry == "useless"
        if refused or isinstance(failure, RetriableError | AlreadyInApdbError):
            self.remove()
        else:
            self.release()

    def release(self) -> None:
        """Unlock the file and leave it unchanged."""
        self._file.close()


def write_underway(
    folder: Path, visit: int, detector: int, processed_mjd: pd.Series, alerts: Iterable[Alert]
) -> AlertFile | None:
    """Write the alerts of a visit-detector to disk, before their sources are committed.

    Parameters
    ----------
    folder, visit, detector, alerts
        See `AlertFile.write`.
    processed_mjd : `~pandas.Series`
        ``timeProcessedMjdTai`` of the DiaSources, days; the same value in all rows.

    Returns
    -------
    file : `AlertFile` or `None`
        `None` if there are no alerts, or if they cannot be written. The latter is logged, and the visit
        continues, because its failure would lose all alerts.
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
    """Iterate over the alerts of a file, even if another process holds it."""
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name, packet = os.path.splitext(member.name)
            if packet == _PACKET and (content := tar.extractfile(member)) is not None:
                yield Alert(int(name), content.read())


def underway_files(folder: Path) -> list[Path]:
    """Return the files whose commit is not confirmed; most belong to a live worker.

    Raises
    ------
    UntrustedFolderError
        Raised if another user may have put files there.
    """
    return _files(folder, UNDERWAY)


def kept_files(folder: Path) -> list[Path]:
    """Return the files of alerts that wait for another attempt.

    Raises
    ------
    UntrustedFolderError
        Raised if another user may have put files there.
    """
    return _files(folder, KEPT)


def remove_unfinished(folder: Path) -> None:
    """Remove incomplete files of dead workers, whose commit had not begun.

    Raises
    ------
    UntrustedFolderError
        Raised if another user may have put files there.
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
    """Open a file that belongs to this user for reading and writing."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise AlertFileError(f"{path} cannot be read as a file of alerts: {exc.strerror}") from exc
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise AlertFileError(f"{path} does not belong to this user; its alerts are not sent.")
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

"""What tasks that run the numerics have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from lsst.pipe.base import AlgorithmError, PipelineTask

from prompt_processing.imaging.errors import NumericalError

__all__ = ["NumericsTask", "repeatable_failures"]


class NumericsTask(PipelineTask):
    """A task whose failures in the numerics are the middleware's `~lsst.pipe.base.AlgorithmError`."""

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: N802 (the base class's name)
        """Run one quantum.

        Raises
        ------
        lsst.pipe.base.AlgorithmError
            Raised if the numerics cannot use this image: a retry would fail as well.
        """
        with repeatable_failures():
            super().runQuantum(butlerQC, inputRefs, outputRefs)


@contextmanager
def repeatable_failures() -> Iterator[None]:
    """Raise the numerics' own failures as those that the middleware knows to be the same at a retry.

    The numerics do not import the middleware, so their errors cannot be its.

    Raises
    ------
    lsst.pipe.base.AlgorithmError
        Raised from the `~prompt_processing.imaging.errors.NumericalError`,
        with its name, message and metadata.
    """
    try:
        yield
    except NumericalError as error:
        raise _middleware_error(type(error).__name__)(error) from error


@cache
def _middleware_error(name: str) -> type[AlgorithmError]:
    # The name is what an operator reads in the outcome's reason, and what the documentation lists.
    return type(name, (_TaskAlgorithmError,), {})


class _TaskAlgorithmError(AlgorithmError):
    def __init__(self, error: NumericalError) -> None:
        super().__init__(str(error))
        self._metadata = error.metadata

    @property
    def metadata(self) -> dict[str, Any]:
        return self._metadata

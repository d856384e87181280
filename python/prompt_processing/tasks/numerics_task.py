"""Base of tasks that run the numerics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from lsst.pipe.base import AlgorithmError, PipelineTask

from prompt_processing.imaging.errors import NumericalError

__all__ = ["NumericsTask", "repeatable_failures"]


class NumericsTask(PipelineTask):
    """Task that raises failures of the numerics as the middleware's `~lsst.pipe.base.AlgorithmError`."""

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: N802 (the base class's name)
        """Run one quantum.

        Raises
        ------
        lsst.pipe.base.AlgorithmError
            Raised if the numerics cannot process this image, so that a retry would fail too.
        """
        with repeatable_failures():
            super().runQuantum(butlerQC, inputRefs, outputRefs)


@contextmanager
def repeatable_failures() -> Iterator[None]:
    """Raise failures of the numerics as errors that the middleware does not retry.

    The numerics do not import the middleware, so they cannot raise its errors.

    Raises
    ------
    lsst.pipe.base.AlgorithmError
        Raised for a `~prompt_processing.imaging.errors.NumericalError`,
        with its name, message and metadata.
    """
    try:
        yield
    except NumericalError as error:
        raise _middleware_error(type(error).__name__)(error) from error


@cache
def _middleware_error(name: str) -> type[AlgorithmError]:
    # Operators read the name in the outcome's reason, and the documentation lists it.
    return type(name, (_TaskAlgorithmError,), {})


class _TaskAlgorithmError(AlgorithmError):
    def __init__(self, error: NumericalError) -> None:
        super().__init__(str(error))
        self._metadata = error.metadata

    @property
    def metadata(self) -> dict[str, Any]:
        return self._metadata

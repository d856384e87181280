"""How a failure of the numerics reaches the middleware and the outcome of a visit."""

from __future__ import annotations

import pytest
from lsst.pipe.base import AlgorithmError

from prompt_processing.activator.services.pipelines import TaskFailedError, meaning_of_failure
from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.imaging.errors import TooFewStarsError
from prompt_processing.tasks.numerics_task import repeatable_failures


def test_middleware_sees_an_algorithm_error_with_the_numbers_of_the_failure() -> None:
    with pytest.raises(AlgorithmError) as caught, repeatable_failures():
        raise TooFewStarsError("no PSF model", stars=3)
    assert caught.value.metadata == {"stars": 3}
    assert str(caught.value) == "no PSF model (stars=3)"


def test_failure_of_the_numerics_is_not_retried_and_keeps_its_name() -> None:
    failure = TaskFailedError("calibrateImage")
    with pytest.raises(AlgorithmError) as caught, repeatable_failures():
        raise TooFewStarsError("no PSF model", stars=3)
    failure.__cause__ = caught.value
    meaning = meaning_of_failure(failure, changed=False)
    assert isinstance(meaning, NonRetriableError)
    assert "calibrateImage failed: TooFewStarsError: no PSF model (stars=3)" in str(meaning)


def test_other_failures_pass_unchanged() -> None:
    with pytest.raises(OSError, match="disk"), repeatable_failures():
        raise OSError("disk")

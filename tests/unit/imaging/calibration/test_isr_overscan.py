import numpy as np
import pytest

from prompt_processing.imaging.isr.overscan import COUNTED, _median, fit_overscan


def overscan(rows: int = 400, columns: int = 64, noise: float = 6.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = 20_000 + np.linspace(0, 20, rows)
    return np.rint(level[:, np.newaxis] + rng.normal(0, noise, (rows, columns))).astype(np.int32)


def test_level_follows_a_slow_drift_without_bias() -> None:
    fit = fit_overscan(overscan())
    error = fit.level - (20_000 + np.linspace(0, 20, 400))
    assert abs(error.mean()) < 0.1
    assert error.std() < 1.2 * 6.0 / np.sqrt(60)
    assert fit.n_replaced == 0


def test_read_noise_is_measured() -> None:
    assert fit_overscan(overscan(noise=6.0)).read_noise == pytest.approx(6.0, rel=0.03)


def test_true_jump_between_rows_is_followed() -> None:
    data = overscan()
    data[200:] += 50
    fit = fit_overscan(data)
    assert fit.level[200:].mean() - fit.level[:200].mean() == pytest.approx(50 + 10, abs=0.5)
    assert fit.n_replaced == 0


def test_charge_trailing_into_the_overscan_does_not_lower_the_row() -> None:
    data = overscan()
    data[100:110] += (3000 * np.exp(-np.arange(64) / 15)).astype(np.int32)
    fit = fit_overscan(data)
    truth = 20_000 + np.linspace(0, 20, 400)
    assert np.abs(fit.level[100:110] - truth[100:110]).max() < 2.5
    assert fit.n_replaced >= 10


def test_first_columns_with_deferred_charge_do_not_count() -> None:
    data = overscan()
    data[:, :2] += 500
    assert abs((fit_overscan(data).level - fit_overscan(overscan()).level).mean()) < 0.05


def test_single_spikes_are_clipped() -> None:
    data = overscan()
    data[::7, 30] += 4000
    assert abs((fit_overscan(data).level - fit_overscan(overscan()).level).mean()) < 0.05


def test_overscan_of_a_noiseless_amplifier_has_a_level() -> None:
    fit = fit_overscan(np.full((10, 20), 1234, np.uint16))
    assert np.all(fit.level == 1234)
    assert fit.read_noise > 0


def test_too_narrow_an_overscan_is_refused() -> None:
    with pytest.raises(ValueError, match="too narrow"):
        fit_overscan(np.zeros((10, 2), np.int32))


@pytest.mark.parametrize("spread", [0.2, 5.0, 60.0, 2000.0])
@pytest.mark.parametrize("n", [1, 2, 20, 21])
def test_counted_median_is_that_of_the_values(spread: float, n: int) -> None:
    rng = np.random.default_rng(n)
    counts = np.zeros(COUNTED, np.int32)
    for _ in range(50):
        values = rng.normal(20_000, spread, n)
        for some in (values, np.rint(values)):
            assert _median(some, counts) == np.median(some)

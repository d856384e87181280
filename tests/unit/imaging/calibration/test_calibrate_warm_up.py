from prompt_processing.compilation.calibration import compile_calibration
from prompt_processing.imaging.calibration.measurement import _fit_sources
from prompt_processing.imaging.isr.cosmic_rays import _grow, _halo, _repair
from prompt_processing.imaging.isr.isr import _find_saturated, _mark_around
from prompt_processing.imaging.isr.snaps import _average
from prompt_processing.instruments.rice import decode_rows


def test_warm_up_compiles_what_a_visit_needs() -> None:
    compile_calibration()
    for compiled in (
        decode_rows, _find_saturated, _mark_around, _fit_sources, _average, _grow, _halo, _repair,
    ):  # fmt: skip
        assert compiled.signatures

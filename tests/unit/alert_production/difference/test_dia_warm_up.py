"""Compiling ahead must reach all that Python calls of difference imaging's compiled code."""

from prompt_processing.alert_production import (
    dia_detection,
    dia_measurement,
    difference_background,
    difference_masks,
    difference_variance,
    psf_flux,
    spline_filter,
    streaks,
    warp_pixels,
)
from prompt_processing.alert_production.difference_warm_up import compile_difference_imaging


def test_every_entry_point_is_compiled_ahead():
    assert compile_difference_imaging() > 0
    entries = {
        dia_detection: ("_find_usable", "_normalise", "_find_above", "_find_peaks", "_clean"),
        dia_measurement: ("_measure",),
        difference_background: ("_find_quiet",),
        difference_masks: ("_fill", "_combine", "_find", "_find_wide", "_paint", "_flood", "_blank"),
        difference_variance: ("_bin", "_enlarge"),
        psf_flux: ("_forced_fluxes",),
        spline_filter: ("_along_rows", "_along_columns"),
        streaks: ("_bin", "_hough", "_profile", "_paint_line"),
        warp_pixels: ("begin_planes", "cut_patch", "warp_patch", "finish_planes"),
    }
    idle = [name for module, names in entries.items() for name in names if not vars(module)[name].signatures]
    assert idle == []

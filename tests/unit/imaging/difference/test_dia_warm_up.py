"""Compiling ahead must reach all that Python calls of difference imaging's compiled code."""

from prompt_processing.compilation.difference import compile_difference_imaging
from prompt_processing.imaging import masked_pixels as difference_masks
from prompt_processing.imaging import percentiles, psf_flux
from prompt_processing.imaging.difference import background as difference_background
from prompt_processing.imaging.difference import block_convolution, model_error
from prompt_processing.imaging.difference import variance as difference_variance
from prompt_processing.imaging.measurement import (
    dia_centres,
    dia_companions,
    dia_detection,
    dia_measurement,
    dia_neighbours,
    significance,
    streaks,
)
from prompt_processing.imaging.templates import spline_filter, warp_pixels


def test_every_entry_point_is_compiled_ahead():
    assert compile_difference_imaging() > 0
    entries = {
        block_convolution: ("_multiply",),
        dia_centres: ("centre_peaks",),
        dia_companions: ("_search",),
        dia_detection: ("_find_above", "_find_peaks", "_clean"),
        dia_measurement: ("_measure",),
        dia_neighbours: ("_fit", "_groups"),
        difference_background: ("_find_quiet", "_quiet_values", "_pulls"),
        difference_masks: ("_fill", "_combine", "_find", "_find_wide", "_paint", "_flood", "_blank"),
        difference_variance: ("_bin", "_enlarge"),
        model_error: ("_add",),
        percentiles: ("_interpolate",),
        psf_flux: ("_forced_fluxes",),
        significance: ("_find_usable", "_normalise"),
        spline_filter: ("filter_columns",),
        streaks: ("_bin", "_hough", "_profile", "_paint_line"),
        warp_pixels: ("begin_planes", "cut_spline", "warp_patch", "finish_planes"),
    }
    idle = [name for module, names in entries.items() for name in names if not vars(module)[name].signatures]
    assert idle == []

"""Simulated sky, telescope and camera, with the truth for each raw."""

from .calibrations import CalibrationProducts, calibration_products, measured_camera
from .conditions import ObservingConditions, draw_conditions
from .night import Night, NightCalibration, NightTemplate, build_night
from .pair import SimulatedPair, simulate_pair
from .planning import PlannedExposure, plan_visits
from .raw_image import RawImage, load_truth, simulate_raw, truth_path
from .reference import reference_stars
from .sensor import Sensor
from .sky import SkyCatalogue, SkyDensity

__all__ = [
    "CalibrationProducts",
    "Night",
    "NightCalibration",
    "NightTemplate",
    "ObservingConditions",
    "PlannedExposure",
    "RawImage",
    "Sensor",
    "SimulatedPair",
    "SkyCatalogue",
    "SkyDensity",
    "build_night",
    "calibration_products",
    "draw_conditions",
    "load_truth",
    "measured_camera",
    "plan_visits",
    "reference_stars",
    "simulate_pair",
    "simulate_raw",
    "truth_path",
]

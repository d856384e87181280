"""Cameras: geometry, object keys, headers and raw frames."""

from .camera import Amplifier, Camera, Detector, band_of_filter, camera_names, load_camera
from .description.instrument import Instrument, InstrumentError
from .description.registry import instrument_names, load_instrument
from .errors import HeaderError, RawError, RawFileError
from .geometry import detector_centre, detector_region, detector_wcs
from .header_files import parse_sidecar, read_detector_headers, read_header
from .headers import Observation, exposure_dimension_record_fields, translate
from .raw_frame import RawFrame, Segment, read_raw
from .raw_key import RawKey, format_obs_id, format_raw_key, lsst_exposure_id, visit_prefixes

__all__ = [
    "Amplifier",
    "Camera",
    "Detector",
    "HeaderError",
    "Instrument",
    "InstrumentError",
    "Observation",
    "RawError",
    "RawFileError",
    "RawFrame",
    "RawKey",
    "Segment",
    "band_of_filter",
    "camera_names",
    "detector_centre",
    "detector_region",
    "detector_wcs",
    "exposure_dimension_record_fields",
    "format_obs_id",
    "format_raw_key",
    "instrument_names",
    "load_camera",
    "load_instrument",
    "lsst_exposure_id",
    "parse_sidecar",
    "read_detector_headers",
    "read_header",
    "read_raw",
    "translate",
    "visit_prefixes",
]

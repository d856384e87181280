"""Butler formatters and delegates for this package's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fitsio
from lsst.daf.butler import FormatterV2, StorageClassDelegate
from lsst.resources import ResourcePath

from prompt_processing.images.exposure import Exposure, box_around
from prompt_processing.images.fits import read_exposure, read_exposure_parts, write_exposure

_PLANES = {"image": "IMAGE", "mask": "MASK", "variance": "VARIANCE"}
_PARTS = {
    "wcs": "wcs",
    "psf": "psf",
    "photoCalib": "photo_calib",
    "visitInfo": "visit_info",
    "metadata": "metadata",
}


class ExposureFormatter(FormatterV2):
    """Read and write `Exposure` as multi-extension FITS, whole or one component at a time."""

    default_extension = ".fits"
    supported_extensions = frozenset({".fits", ".fits.fz", ".fits.gz"})
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a file, or one component of it."""
        if component is None:
            return read_exposure(path, (self.file_descriptor.parameters or {}).get("region"))
        if component in _PARTS:
            return read_exposure_parts(path)[_PARTS[component]]
        with fitsio.FITS(path) as file:
            if component == "dimensions":
                return tuple(reversed(file["IMAGE"].get_dims()))
            return file[_PLANES[component]].read()

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write to a local file."""
        write_exposure(uri.ospath, in_memory_dataset)


class ExposureDelegate(StorageClassDelegate):
    """Return the components of an `Exposure` in memory."""

    def getComponent(self, composite: Any, componentName: str) -> Any:  # noqa: N802 (the base class's name)
        """Return one component."""
        exposure: Exposure = composite
        if componentName == "dimensions":
            height, width = exposure.shape
            return width, height
        return getattr(exposure, _PARTS.get(componentName, componentName))

    def handleParameters(  # noqa: N802
        self, inMemoryDataset: Any, parameters: Mapping[str, Any] | None = None
    ) -> Any:
        """Cut out a region of an exposure in memory."""
        region = (parameters or {}).get("region")
        exposure: Exposure = inMemoryDataset
        if region is None or exposure.wcs is None:
            return exposure
        return exposure.part(*box_around(region, exposure.wcs, exposure.shape))


class FitsFormatter(FormatterV2):
    """Read and write a type that has ``write_fits`` and ``read_fits``."""

    default_extension = ".fits"
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read the type of the dataset's storage class."""
        reader: Any = self.file_descriptor.storageClass.pytype
        return reader.read_fits(path)

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write to a local file."""
        in_memory_dataset.write_fits(uri.ospath)


class JsonTextFormatter(FormatterV2):
    """Read and write a type that has ``to_json`` and ``from_json``."""

    default_extension = ".json"
    can_read_from_uri = True

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        """Read the type of the dataset's storage class."""
        reader: Any = self.file_descriptor.storageClass.pytype
        return reader.from_json(uri.read().decode())

    def to_bytes(self, in_memory_dataset: Any) -> bytes:
        """Serialise to JSON."""
        text: str = in_memory_dataset.to_json()
        return text.encode()

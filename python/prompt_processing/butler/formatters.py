"""Butler formatters and delegates for this package's types.

Files of the outputs are in the layout of ``lsst-images``, so that others read them by its formatter; see
`.field_types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fitsio
from lsst.daf.butler import Butler, DatasetRef, FormatterV2, StorageClassDelegate
from lsst.resources import ResourcePath

from prompt_processing.images.exposure import Exposure, box_around
from prompt_processing.images.fits import read_exposure, read_exposure_parts, read_plane, write_exposure
from prompt_processing.images.layout.identity import Identity

from .field_types import FIELD_FORMATTER

OWN_FORMATTERS = frozenset(
    f"prompt_processing.butler.formatters.{name}" for name in ("ExposureFormatter", "FieldPartFormatter")
)
"""Formatters here whose files are in the layout of ``lsst-images``."""

STACK_TABLE_FORMATTER = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"
"""Reads the stack's types that know how to read themselves from FITS, such as defects."""

PARTS = {
    "wcs": "wcs",
    "psf": "psf",
    "photoCalib": "photo_calib",
    "visitInfo": "visit_info",
    "metadata": "metadata",
}
"""Attribute of `Exposure` by the component's name in the Butler, for all but the planes of pixels."""


class ExposureFormatter(FormatterV2):
    """Read and write `Exposure` as multi-extension FITS, whole or one component at a time."""

    default_extension = ".fits"
    supported_extensions = frozenset({".fits", ".fits.fz", ".fits.gz"})
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a file, or one component of it."""
        if component is None:
            return read_exposure(path, (self.file_descriptor.parameters or {}).get("region"))
        if component in PARTS:
            return read_exposure_parts(path)[PARTS[component]]
        if component == "dimensions":
            with fitsio.FITS(path) as file:
                return tuple(reversed(file["IMAGE"].get_dims()))
        return read_plane(path, component)

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write to a local file."""
        write_exposure(uri.ospath, in_memory_dataset, identity_of(self.dataset_ref))


class FieldImageFormatter(ExposureFormatter):
    """Write `Exposure` where a repository has a type of ``lsst-images``, whose formatter is recorded."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the formatter that reads the file, here and elsewhere."""
        return FIELD_FORMATTER

    def can_accept(self, in_memory_dataset: Any) -> bool:
        """Return whether a dataset is written without conversion."""
        return isinstance(in_memory_dataset, Exposure) or super().can_accept(in_memory_dataset)

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write our exposure fast, or what another package made without loss."""
        if isinstance(in_memory_dataset, Exposure):
            super().write_local_file(in_memory_dataset, uri)
            return
        from lsst.images.serialization import write_archive

        write_archive(in_memory_dataset, uri.ospath)


class FieldPartFormatter(FormatterV2):
    """Read and write kernels, backgrounds and photometric calibrations in the layout of ``lsst-images``."""

    default_extension = ".fits"
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read the type of the dataset's storage class."""
        from prompt_processing.images.layout.parts import read_part

        return read_part(path)

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write to a local file."""
        from prompt_processing.images.layout.parts import write_part

        write_part(uri.ospath, in_memory_dataset, identity_of(self.dataset_ref))


class ExposureDelegate(StorageClassDelegate):
    """Return the components of an `Exposure` in memory."""

    def getComponent(self, composite: Any, componentName: str) -> Any:  # noqa: N802 (the base class's name)
        """Return one component."""
        exposure: Exposure = composite
        if componentName == "dimensions":
            height, width = exposure.shape
            return width, height
        return getattr(exposure, PARTS.get(componentName, componentName))

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


class DefectsFormatter(FitsFormatter):
    """Write defects as the table that the Rubin stack reads, whose formatter is recorded."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the formatter that reads the file there, and a reader of `.readers` here."""
        return STACK_TABLE_FORMATTER


class JsonTextFormatter(FormatterV2):
    """Read a type that has ``to_json`` and ``from_json``, as older repositories have recorded it."""

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


def read_image(butler: Butler, ref: DatasetRef) -> Exposure:
    """Read an image from its file with the reader here; the Butler's own takes several times as long."""
    with butler.getURI(ref).as_local() as file:
        return read_exposure(file.ospath)


def identity_of(ref: DatasetRef) -> Identity:
    """Return what is known of a dataset beside its content."""
    data_id: dict[str, Any] = dict(ref.dataId.mapping)
    return Identity(
        dataset_type=ref.datasetType.name,
        instrument=data_id.get("instrument"),
        detector=data_id.get("detector"),
        visit=data_id.get("visit", data_id.get("exposure")),
        physical_filter=data_id.get("physical_filter"),
        band=data_id.get("band"),
    )

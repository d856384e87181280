"""Raw images that have everything but pixels, and the bucket that they arrive in."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta

from prompt_processing.instruments.camera import Camera
from prompt_processing.instruments.raw_key import format_obs_id, format_raw_key
from prompt_processing.services.object_store import ObjectStore

from .content import BAND, FILTER

_EXPOSURE_S = 30.0


def raw_file(
    camera: Camera, detector: int, exposure: int, group: str, field: tuple[float, float, float]
) -> bytes:
    """Make a raw image of 8 by 8 pixels with a complete header."""
    one = camera.detector(detector)
    ra, dec, rotation = field
    begin = Time.now()
    header = {
        "INSTRUME": camera.name,
        "TELESCOP": "Simonyi Survey Telescope",
        "OBSID": format_obs_id(camera.name, exposure),
        "DAYOBS": str(exposure // 100_000),
        "SEQNUM": exposure % 100_000,
        "CAMCODE": "MC",
        "CONTRLLR": "O",
        "RAFTBAY": one.raft,
        "CCDSLOT": one.sensor,
        "FILTBAND": BAND,
        "FILTER": FILTER,
        "EXPTIME": _EXPOSURE_S,
        "DARKTIME": _EXPOSURE_S,
        "DATE-OBS": begin.tai.isot,
        "DATE-BEG": begin.tai.isot,
        "DATE-END": (begin + TimeDelta(_EXPOSURE_S, format="sec")).tai.isot,
        "TIMESYS": "TAI",
        "IMGTYPE": "OBJECT",
        "REASON": "load",
        "PROGRAM": "load",
        "OBJECT": "field",
        "GROUPID": group,
        "RA": ra,
        "DEC": dec,
        "ROTPA": rotation,
        "ROTCOORD": "sky",
        "RADESYS": "ICRS",
        "AMSTART": 1.2,
        "ELSTART": 60.0,
        "AZSTART": 10.0,
        "VIGN_MIN": "FULLY",
    }
    hdus = [fits.PrimaryHDU(header=fits.Header(header)), fits.ImageHDU(np.zeros((8, 8), np.int32))]
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


class RawBucket:
    """Uploads the raws of whole visits.

    Parameters
    ----------
    store : `ObjectStore`
        Where to.
    bucket : `str`
        Its bucket.
    camera : `Camera`
        Whose detectors.
    """

    def __init__(self, store: ObjectStore, bucket: str, camera: Camera) -> None:
        self._client = store.client()
        self._bucket = bucket
        self._camera = camera

    def put_visit(
        self,
        detectors: Iterable[int],
        exposure: int,
        group: str,
        field: tuple[float, float, float],
    ) -> None:
        """Upload one image a detector, each after its sidecar."""

        def put(detector: int) -> None:
            key = format_raw_key(self._camera.name, detector, exposure)
            sidecar = json.dumps({"GROUPID": group}).encode()
            self._client.put_object(Bucket=self._bucket, Key=key.sidecar_key(), Body=sidecar)
            body = raw_file(self._camera, detector, exposure, group, field)
            self._client.put_object(Bucket=self._bucket, Key=key.key, Body=body)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, detectors))

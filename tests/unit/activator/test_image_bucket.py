"""What an answer about a raw's place is taken for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from prompt_processing.activator.storage.image_bucket import ImageBucket
from prompt_processing.instruments.raw_key import format_raw_key
from prompt_processing.instruments.raw_store import RawStore

KEY = format_raw_key("LSSTCam", 94, 2025060900578).key


def bucket(address: str) -> ImageBucket:
    return ImageBucket(RawStore(cast(Any, None), address))


@pytest.mark.parametrize("profile", ["", "embargo@"])
@pytest.mark.parametrize("own", ["", "s3://", "s3://summit@", "summit@"])
def test_raw_is_found_in_our_bucket_whatever_profile_others_use(world, own: str, profile: str) -> None:
    found = bucket(f"{own}raws").located(f"s3://{profile}raws/{KEY}", world.visit(), 1.0)
    assert found is not None
    # Read with the profile that the worker is configured for.
    assert found.uri.geturl() == f"s3://{'summit@' if 'summit' in own else ''}raws/{KEY}"


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://other/{KEY}",
        f"s3://raws@other/{KEY}",
        f"s3://other/raws/{KEY}",
        f"file://raws/{KEY}",
        f"raws/{KEY}",
        f"s3://raws/{KEY}.json",
        "s3://raws/",
        "s3://embargo@raws/../raws/x.fits",
    ],
)
def test_anything_else_is_not_a_raw_of_ours(world, uri: str) -> None:
    assert bucket("raws").located(uri, world.visit(), 1.0) is None

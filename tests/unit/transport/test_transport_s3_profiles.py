"""Credentials and stores of buckets that are named with a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsst.resources import s3utils

from prompt_processing.settings.buckets import has_known_profile
from prompt_processing.transport.s3 import UnknownProfileError, make_s3_client, require_endpoint


@pytest.fixture(autouse=True)
def shared_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    credentials = tmp_path / "credentials"
    credentials.write_text("[filed]\naws_access_key_id = of-the-file\naws_secret_access_key = hush\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("LSST_RESOURCES_S3_PROFILE_embargo", "https://key%2Fid:a%2Fb@embargo.example:9000/s3")
    monkeypatch.setenv("LSST_RESOURCES_S3_PROFILE_filed", "https://filed.example")


@pytest.mark.parametrize("profile", ["embargo", "filed", None])
@pytest.mark.parametrize("endpoint", [None, "https://a:b@site.example"])
def test_profiles_are_those_of_lsst_resources(
    monkeypatch: pytest.MonkeyPatch, profile: str | None, endpoint: str | None
) -> None:
    if profile is None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
    if endpoint:
        monkeypatch.setenv("S3_ENDPOINT_URL", endpoint)
    theirs = s3utils.getS3Client(profile)
    ours = make_s3_client(endpoint, profile=profile)
    assert ours.meta.endpoint_url == theirs.meta.endpoint_url
    clients: tuple[Any, Any] = (ours, theirs)
    mine, other = (one._request_signer._credentials for one in clients)
    assert (mine.access_key, mine.secret_key) == (other.access_key, other.secret_key)


def test_a_profile_that_is_configured_nowhere_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="profile other is neither in LSST_RESOURCES_S3_PROFILE_other nor"):
        has_known_profile("s3://other@raws")
    for address in ("s3://embargo@raws", "filed@raws", "raws"):
        assert has_known_profile(address) == address
    monkeypatch.setenv("LSST_RESOURCES_S3_PROFILE_other", "https://hush@host")
    with pytest.raises(UnknownProfileError, match="_other is not of the form") as caught:
        make_s3_client(None, profile="other")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["store:9000", "https://", "ftp://store", "https://store:hush", "https://[store"]
)
def test_an_endpoint_that_is_no_url_is_reported_before_the_first_request(url: str) -> None:
    with pytest.raises(UnknownProfileError, match="S3_ENDPOINT_URL is not a URL such as") as caught:
        require_endpoint(url)
    assert "hush" not in str(caught.value)
    for usable in (None, "http://127.0.0.1:9000", "https://key:secret@store.example/path"):
        require_endpoint(usable)


def test_the_store_of_a_profile_is_checked_in_place_of_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    require_endpoint("nonsense", "embargo")
    monkeypatch.setenv("LSST_RESOURCES_S3_PROFILE_embargo", "nonsense")
    with pytest.raises(UnknownProfileError, match="_PROFILE_embargo is not a URL such as"):
        require_endpoint("https://store.example", "embargo")

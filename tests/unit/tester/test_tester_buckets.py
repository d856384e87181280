"""Testers read buckets that are named with a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompt_processing.tester.settings import open_bucket


@pytest.mark.parametrize("address", ["s3://embargo@raws", "embargo@raws/"])
def test_profile_of_a_bucket_gives_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = other\naws_secret_access_key = other\n"
        "[embargo]\naws_access_key_id = embargoed\naws_secret_access_key = hush\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    client, bucket = open_bucket(address)
    assert bucket == "raws"
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a.fits"})
    assert "embargoed" in url

"""Every setting and option that takes a URI takes one with a profile, of which only its variable knows."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import astropy.utils.data
import boto3
import numpy as np
import pytest
from astropy.io import fits
from astropy.utils import iers
from lsst.daf.butler import Butler, DatasetType
from lsst.dax.apdb import Apdb
from lsst.resources import ResourcePath
from moto.server import ThreadedMotoServer
from mypy_boto3_s3 import S3Client

from prompt_processing.activator.storage.iers_tables import import_iers_tables
from prompt_processing.alerts.files import KEPT, AlertFile
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.resending import move_to_store
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.apdb.administration import create, status
from prompt_processing.butler.local.overrides import read_overrides
from prompt_processing.butler.pipelines.files import read_pipeline
from prompt_processing.cli.difference_inputs import local_files
from prompt_processing.repository.central import create_repository
from prompt_processing.repository.plots.summary import read_summary, summary_path
from prompt_processing.repository.raws import find_raws
from prompt_processing.settings.pipelines import parse_selection
from prompt_processing.transport.kafka import KafkaSettings

ROOT = "s3://site@bucket"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Client:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # A reader that loses the profile finds neither store nor credentials.
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LSST_RESOURCES_S3_PROFILE_site", f"http://key:secret@{server}")
    client = boto3.client(
        "s3", endpoint_url=f"http://{server}", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="bucket")
    return client


def iers_archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(quote(iers.IERS_B_URL, safe=""), "a table")
    return content.getvalue()


def binary_map() -> bytes:
    column = fits.Column("T", "J", array=np.ones(12, np.int32))
    table = fits.BinTableHDU.from_columns([column])
    table.header.update({"NSIDE": 1, "ORDERING": "RING", "INDXSCHM": "IMPLICIT"})
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(content)
    return content.getvalue()


def fetched(uri: str) -> bytes:
    with local_files([uri], lambda _: None) as ((path, _),):
        return Path(path).read_bytes()


def in_map(uri: str) -> bool | None:
    (node,) = parse_selection(f"[{{binary-map: '{uri}', pipelines: []}}]").nodes
    assert node.membership is not None
    return node.membership(1.0, 2.0)


READERS: dict[str, tuple[bytes, Callable[[str], object], object]] = {
    "LOCAL_REPO_CONFIG": (
        b"datastore:\n  checksum: true\n",
        read_overrides,
        {"datastore": {"checksum": True}},
    ),
    "binary-map": (
        binary_map(),
        in_map,
        True,
    ),
    "pipelines": (
        b"description: one\ntasks: {any: any.Task}\n",
        lambda uri: list(read_pipeline(uri).task_labels),
        ["any"],
    ),
    "image of prompt difference": (b"pixels", fetched, b"pixels"),
    "raws": (b"raw", lambda uri: [one.basename() for one in find_raws([uri])], ["content.fits"]),
    "folder of raws": (
        b"raw",
        lambda uri: [one.read() for one in find_raws([uri.rpartition("/")[0]])],
        [b"raw"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_files_are_read(s3: S3Client, name: str) -> None:
    content, read, expected = READERS[name]
    key = f"{name}/content.{'yaml' if content.isascii() and b':' in content else 'fits'}"
    s3.put_object(Bucket="bucket", Key=key, Body=content)
    assert read(f"{ROOT}/{quote(key)}") == expected


def test_iers_tables_are_imported(s3: S3Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "astropy").mkdir()
    s3.put_object(Bucket="bucket", Key="iers.zip", Body=iers_archive())
    import_iers_tables(f"{ROOT}/iers.zip")
    assert astropy.utils.data.is_url_in_cache(iers.IERS_B_URL)


def test_repositories_and_the_apdb_are_made_and_opened(s3: S3Client, tmp_path: Path) -> None:
    create_repository(f"{ROOT}/repo", f"sqlite:///{tmp_path}/registry.sqlite3")
    with Butler.from_config(f"{ROOT}/repo", writeable=True, run="r") as butler:
        butler.registry.registerDatasetType(
            DatasetType("one", (), "StructuredDataDict", universe=butler.dimensions)
        )
        ref = butler.put({"a": 1}, "one")
        assert butler.getURI(ref).geturl().startswith(f"{ROOT}/repo/")
    with Butler.from_config(f"{ROOT}/repo") as butler:
        assert butler.get(ref) == {"a": 1}
    create(f"sqlite:///{tmp_path}/apdb.sqlite3", f"{ROOT}/apdb.yaml")
    assert status(f"{ROOT}/apdb.yaml").rows
    assert Apdb.from_uri(f"{ROOT}/apdb.yaml") is not None


def test_unsent_alerts_are_moved(s3: S3Client, tmp_path: Path) -> None:
    AlertFile.write(tmp_path / "kept", 1, 2, 60000.5, [Alert(1, b"packet")], KEPT).release()
    settings = AlertStreamSettings(
        KafkaSettings(bootstrap_servers="b:1"), "alerts", tmp_path / "kept", keep_store=f"{ROOT}/unsent"
    )
    move_to_store(settings)
    assert s3.list_objects_v2(Bucket="bucket", Prefix="unsent/")["KeyCount"] == 1


def test_summaries_of_plots_are_read(s3: S3Client) -> None:
    path = summary_path(f"{ROOT}/summaries", "main", "a/b")
    path.write(gzip.compress(b'{"tracts": {}, "visits": {}, "global": {}}'))
    assert read_summary(path, []) is not None
    assert ResourcePath(path.geturl()).exists()

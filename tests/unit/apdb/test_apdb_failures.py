"""What a worker says of an APDB that it cannot use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from lsst.dax.apdb import Apdb, ApdbConfig
from lsst.dax.apdb.cassandra.exceptions import CassandraMissingError
from lsst.resources import ResourcePath

from prompt_processing.apdb.administration import create
from prompt_processing.apdb.config_files import read_config
from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.failures import ApdbConfigurationError
from prompt_processing.apdb.version import check_apdb_version
from prompt_processing.domain.errors import NonRetriableError, RetriableError
from prompt_processing.repository.check import Severity
from prompt_processing.repository.check_apdb import check_apdb


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "index.yaml"
    file.write_text("dev: /nowhere/apdb.yaml\n")
    monkeypatch.setenv("DAX_APDB_INDEX_URI", str(file))
    return file


def both(uri: str, words: str) -> None:
    """Check that a worker does not start, and that a visit is not sent again."""
    with pytest.raises(ApdbConfigurationError, match=words):
        check_apdb_version(uri)
    with pytest.raises(NonRetriableError, match=words) as failure:
        ApdbConnection().get(uri)
    assert failure.value.retry == "useless"
    finding = check_apdb(uri)
    assert finding.severity is Severity.PROBLEM
    assert re.search(words, finding.message)


def test_unknown_label_is_named_with_the_known_ones(index: Path) -> None:
    both("label:prod", "label:prod cannot be looked up: .*dev.* CONFIG_APDB")


def test_label_without_an_index_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAX_APDB_INDEX_URI", raising=False)
    both("label:prod", "DAX_APDB_INDEX_URI is not set. What to do")


@pytest.mark.parametrize(
    ("content", "words"), [("- dev\n", "not in expected format"), ("{[", "cannot be looked up: .*INDEX_URI")]
)
def test_index_that_is_none(index: Path, content: str, words: str) -> None:
    index.write_text(content)
    both("label:dev", words)


def test_label_of_an_unusable_file_names_the_file(index: Path, tmp_path: Path) -> None:
    both("label:dev", "nowhere/apdb.yaml, which label:dev stands for, does not exist.*correct the index")
    (tmp_path / "apdb.yaml").write_text("{[")
    index.write_text(f"dev: {tmp_path}/apdb.yaml\n")
    both("label:dev", "apdb.yaml, which label:dev stands for, is not the configuration of an APDB")


def test_file_that_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "apdb.yaml").write_text("a: 1\n")
    both(str(tmp_path / "apdb.yaml"), "is not the configuration of an APDB: .*CONFIG_APDB")
    (tmp_path / "apdb.yaml").write_text("{[")
    both(str(tmp_path / "apdb.yaml"), "is not the configuration of an APDB: .*CONFIG_APDB")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("implementation_type: sql", "db_url: Field required. What to do: correct this file, or CONFIG_APDB"),
        ("{implementation_type: sql, db_url: null}", "db_url: Input should be a valid string"),
        ("{implementation_type: sql, db_url: nonsense}", "Could not parse"),
        ("{implementation_type: sql, db_url: 'other://host/db'}", "sqlalchemy.dialects:other"),
        ("{implementation_type: sql, db_url: 'mysql://host/db'}", "No module named"),
        (
            "{implementation_type: cassandra, partitioning: {part_pix_level: fine}}",
            "partitioning.part_pix_level",
        ),
    ],
)
def test_value_that_cannot_be_used_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "apdb.yaml").write_text(content)
    words = f"apdb.yaml cannot be used as the configuration of an APDB: .*{words}"
    uri = str(tmp_path / "apdb.yaml")
    with pytest.raises(ApdbConfigurationError, match=words):
        check_apdb_version(uri)
    with pytest.raises(NonRetriableError, match=words):
        ApdbConnection().get(uri)


def test_schema_that_is_missing_is_named(tmp_path: Path) -> None:
    config = tmp_path / "apdb.yaml"
    create(f"sqlite:///{tmp_path}/apdb.sqlite3", str(config))
    config.write_text(f"{config.read_text()}schema_file: /nowhere/schema.yaml\n")
    with pytest.raises(ApdbConfigurationError, match=r"/nowhere/schema\.yaml.*What to do: correct this file"):
        check_apdb_version(str(config))


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://store"),
        ClientError({"Error": {"Code": "503"}}, "GetObject"),
        ConnectionResetError(),
    ],
)
@pytest.mark.parametrize("is_schema", [False, True])
def test_store_that_does_not_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, is_schema: bool
) -> None:
    def fail(uri: str) -> ApdbConfig:
        if is_schema:
            raise ValueError("Error reading resource from 's3://bucket/apdb.yaml'") from error
        raise error

    monkeypatch.setattr(ApdbConfig, "from_uri", fail)
    check_apdb_version("s3://bucket/config.yaml")
    with pytest.raises(RetriableError, match=r"The APDB of s3://bucket/config\.yaml cannot be opened"):
        ApdbConnection().get("s3://bucket/config.yaml")


def test_database_without_an_apdb_is_named(tmp_path: Path) -> None:
    config = tmp_path / "apdb.yaml"
    config.write_text("{implementation_type: sql, db_url: 'sqlite://'}")
    words = "database of .*apdb.yaml has no APDB: .*namespace"
    with pytest.raises(ApdbConfigurationError, match=words):
        check_apdb_version(str(config))
    with pytest.raises(NonRetriableError, match=words):
        ApdbConnection().get(str(config))


def test_label_may_have_a_form(index: Path) -> None:
    index.write_text("dev/yaml: /nowhere/apdb.yaml\n")
    both("label:dev", "nowhere/apdb.yaml, which label:dev stands for, does not exist.*correct the index")
    index.write_text("dev/pex_config: /nowhere/apdb.py\n")
    both("label:dev", "nowhere/apdb.py, which label:dev stands for, does not exist.*correct the index")


@pytest.mark.parametrize(
    "content",
    [
        "implementation_type: sql\ndb_url: sqlite:////a\nschema_file: ${SDM_SCHEMAS_DIR}/yml/apdb.yaml\n",
        "import lsst.dax.apdb.sql.apdbSql\n"
        "assert type(config) is lsst.dax.apdb.sql.apdbSql.ApdbSqlConfig, type(config)\n"
        "config.db_url = 'sqlite:////a'\n",
    ],
)
@pytest.mark.filterwarnings("ignore:APDB is instantiated using legacy")
def test_schemas_of_the_stack_are_read_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.delenv("SDM_SCHEMAS_DIR", raising=False)
    (tmp_path / "apdb").write_text(content)
    config = read_config(str(tmp_path / "apdb"))
    assert ResourcePath(config.schema_file).exists()
    monkeypatch.setenv("SDM_SCHEMAS_DIR", "/stack")
    assert read_config(str(tmp_path / "apdb")).schema_file.endswith("/yml/apdb.yaml")


def test_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(uri: str) -> Apdb:
        raise CassandraMissingError

    monkeypatch.setattr(Apdb, "from_uri", missing)
    monkeypatch.setattr(ApdbConfig, "from_uri", missing)
    both("/site/apdb.yaml", r"is in Cassandra.*pip install 'prompt-processing\[cassandra\]'")

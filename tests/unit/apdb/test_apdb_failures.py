"""What a worker says of an APDB that it cannot use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lsst.dax.apdb import Apdb, ApdbConfig
from lsst.dax.apdb.cassandra.exceptions import CassandraMissingError

from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.failures import ApdbConfigurationError
from prompt_processing.apdb.version import check_apdb_version
from prompt_processing.domain.errors import NonRetriableError
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


def test_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(uri: str) -> Apdb:
        raise CassandraMissingError

    monkeypatch.setattr(Apdb, "from_uri", missing)
    monkeypatch.setattr(ApdbConfig, "from_uri", missing)
    both("/site/apdb.yaml", r"is in Cassandra.*pip install 'prompt-processing\[cassandra\]'")

"""What follows from the charts is current and says what the values mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompt_delivery.deployment.chart_values import ChartValuesError, read_values
from prompt_delivery.deployment.cli import documents
from prompt_delivery.deployment.documents import chart_documents, values_schema

PROJECT = Path(__file__).parents[4]

VALUES = """
# An introduction.

worker:
  # -- Seconds that a visit
  # may take
  # @schema {type: number, exclusiveMinimum: 0}
  timeout: 900
  # -- Whether | not
  enabled: true

# -- Anything
env: {}
list: [1]
"""


def write_chart(folder: Path, values: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{name: one, type: application, description: One chart}")
    (folder / "values.yaml").write_text(values)
    return folder


def test_readmes_schemas_and_dashboard_are_current() -> None:
    stale = [
        str(path.relative_to(PROJECT))
        for path, content in documents(PROJECT).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    assert stale == [], "run bin/charts document"


@pytest.mark.parametrize(
    "file", sorted((PROJECT / "charts").glob("*/values.yaml")), ids=lambda file: file.parent.name
)
def test_each_value_is_documented(file: Path) -> None:
    assert [value.name for value in read_values(file) if not value.description] == []


def test_worker_values_mean_the_same_on_both_platforms() -> None:
    knative, keda = (
        {value.name: value for value in read_values(PROJECT / "charts" / chart / "values.yaml")}
        for chart in ("prompt-proto-service", "prompt-keda")
    )
    shared = knative.keys() & keda.keys()
    assert len(shared) > 50
    # A stock Knative gives a request up after 600 s.
    assert {name for name in shared if knative[name] != keda[name]} == {"worker.timeout", "ports.metrics"}
    assert knative["worker.timeout"].description == keda["worker.timeout"].description


def test_values_are_read_with_their_comments(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(VALUES)
    values = {value.name: value for value in read_values(tmp_path / "values.yaml")}
    assert list(values) == ["worker.timeout", "worker.enabled", "env", "list"]
    assert values["worker.timeout"].description == "Seconds that a visit may take"
    assert values["worker.timeout"].constraints == {"type": "number", "exclusiveMinimum": 0}
    assert values["env"].default == {}
    assert values["list"].description == ""


@pytest.mark.parametrize("text", ["a: [", "- a", "# @schema {\n# -- A\na: 1", "# @schema word\na: 1"])
def test_file_that_cannot_be_understood_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(ChartValuesError, match=r"values\.yaml"):
        read_values(file)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"worker": {"timeout": 0}}, "worker.timeout"),
        ({"worker": {"timeout": "soon"}}, "worker.timeout"),
        ({"worker": {"enabled": "yes"}}, "worker.enabled"),
        ({"worker": {"timout": 3}}, "worker"),
        ({"else": 1}, ""),
    ],
)
def test_schema_refuses_wrong_types_and_unknown_keys(tmp_path: Path, values: object, place: str) -> None:
    (tmp_path / "values.yaml").write_text(VALUES)
    schema = values_schema(read_values(tmp_path / "values.yaml"))
    # It compiles grammars while it is imported, which each process of tests would do to collect them.
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    validator.validate({"worker": {"timeout": 0.5, "enabled": False}, "env": {}, "global": {"host": "h"}})
    (error,) = validator.iter_errors(values)
    assert ".".join(map(str, error.path)) == place


def test_application_explains_values_by_the_chart_they_go_to(tmp_path: Path) -> None:
    write_chart(tmp_path / "charts" / "one", VALUES)
    application = write_chart(tmp_path / "applications" / "app", "one:\n  worker:\n    timeout: 3\n")
    (application / "Chart.yaml").write_text(
        "{name: app, type: application, description: An application, dependencies: "
        "[{name: one, version: 1.0.0, repository: file://../../charts/one}]}"
    )
    (application / "secrets.yaml").write_text("token:\n  description: >-\n    A token\n    of one.\n")
    made = chart_documents(application)
    readme = made[application / "README.md"]
    assert "| `one.worker.timeout` | `3` | Seconds that a visit may take |" in readme
    assert "| `token` | A token of one. |" in readme
    schema = json.loads(made[application / "values.schema.json"])
    assert schema["properties"].keys() == {"one", "global"}
    assert (
        "| `worker.enabled` | `true` | Whether \\| not |"
        in chart_documents(tmp_path / "charts" / "one")[tmp_path / "charts" / "one" / "README.md"]
    )

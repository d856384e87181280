"""Environments of the notebook images, installed for real from a small index of wheels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from notebook_wheels import DatedIndex, Run, write_list, write_notebook, write_wheel


def test_two_frozen_builds_are_identical_whatever_is_published_meanwhile(
    run: Run, environments: Path, index: Path
) -> None:
    spec = environments / "lake" / "lake.yml"
    write_list(spec.parent, "lake.yml", "dependencies:", "  - python", "  - pip:", "      - heron")
    run("env-create", "lake", spec)
    run("test-environments", "lake")
    frozen = (environments / "lake" / "lake-frozen.txt").read_text()
    assert "heron==2.0" in frozen
    assert "--hash=sha256:" in frozen
    assert "- heron==2.0" in (environments / "lake" / "lake-frozen.yml").read_text()
    write_wheel(index, "heron", "3.0")
    lists = []
    for _ in range(2):
        run("env-create", "lake", spec, USE_FROZEN="1")
        # Frozen environments are complete: further lists change nothing.
        run("env-update", "lake", write_list(environments / "lake", "more.pip", "marsh"), USE_FROZEN="1")
        lists.append(json.loads(run("dump-versions", USE_FROZEN="1").stdout))
    assert lists[0] == lists[1]
    assert lists[0]["environments"] == {"lake": {"heron": "2.0"}}
    assert (environments / "lake" / "lake-frozen.txt").read_text() == frozen
    run("env-create", "lake", spec)
    run("env-freeze", "lake")
    changed = environments / "new-frozen.txt"
    shutil.copy(environments / "lake" / "lake-frozen.txt", changed)
    write_list(environments, "old-frozen.txt", *frozen.splitlines())
    difference = run("env-diff", environments / "old-frozen.txt", changed, status=1).stdout
    assert difference == "heron rose from 2.0 to 3.0, a new major version.\n"


def test_differences_begin_with_those_that_break_most(run: Run, tmp_path: Path) -> None:
    small = [f"bird{number:02}==1.{number}" for number in range(9)]
    old = write_list(
        tmp_path, "old.txt", *small, "heron==2.0", "marsh==1.9 ; sys_platform == 'darwin'", "teal==3"
    )
    new = write_list(
        tmp_path, "new.txt", *(f"{one}.1" for one in small), "heron==1.9", "swan==1.0", "teal==3"
    )
    lines = run("env-diff", old, new, status=1).stdout.splitlines()
    assert lines[0] == "12 packages differ: 1 by a major version, 9 by less, 1 new, 1 removed."
    assert lines[2] == "heron fell from 2.0 to 1.9, an earlier major version."
    assert lines[3] == "bird00 rose from 1.0 to 1.0.1."
    assert lines[-2:] == ["swan 1.0 is new.", "marsh 1.9 was removed (only where sys_platform == 'darwin')."]


def test_a_changed_file_is_refused_by_its_hash(run: Run, environments: Path, index: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron"))
    run("env-freeze", "lake")
    write_wheel(index, "heron", "2.0", "colour = 'black'")
    cache = str(environments.parent / "empty-cache")
    refused = run("env-create", "lake", status=1, USE_FROZEN="1", UV_CACHE_DIR=cache).stderr
    assert "lake: uv pip sync failed" in refused
    assert "hash" in refused.lower()


def test_a_conflict_names_the_environment_and_the_packages(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron>=2"))
    refused = run(
        "env-update", "lake", write_list(environments / "lake", "more.pip", "marsh"), status=1
    ).stderr
    assert refused.startswith("env-update: lake: uv pip compile failed (lake.pip, more.pip).")
    assert "heron" in refused
    assert "marsh" in refused


def test_broken_imports_and_failing_notebooks_are_named_and_nothing_is_frozen(
    run: Run, environments: Path
) -> None:
    common = environments.parent / "common"
    write_list(common, "kernel.pip", "hostkernel")
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron", "pond"))
    run("install-common", "lake", COMMON_ENV_DIR=str(common))
    tests = environments / "lake" / "tests"
    write_list(tests, "imports", "heron  # works", "pond")
    write_notebook(tests / "works.ipynb", "import heron", "assert heron.colour == 'white'")
    write_notebook(tests / "breaks.ipynb", "assert 1 == 2")
    printed = run("test-environments", status=1).stdout
    assert "ok     lake: import heron" in printed
    assert "FAILED lake: import pond ModuleNotFoundError: No module named 'missing_reed'" in printed
    assert "ok     lake: works.ipynb" in printed
    assert "FAILED lake: breaks.ipynb" in printed
    assert "FAILED environments: lake." in printed
    assert not (environments / "lake" / "lake-frozen.txt").exists()


def test_an_environment_without_frozen_list_says_how_to_make_one(run: Run) -> None:
    refused = run("env-create", "lake", status=1, USE_FROZEN="1").stderr
    assert "build it once with USE_FROZEN=0" in refused


def test_a_clone_has_the_packages_of_its_base_and_more(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron<2"))
    run("env-clone", "lake", "sea")
    run("env-update", "sea", write_list(environments / "sea", "sea.pip", "marsh"))
    found = json.loads(run("dump-versions").stdout)["environments"]
    assert found == {"lake": {"heron": "1.0"}, "sea": {"heron": "1.0", "marsh": "1.0"}}


def test_bill_of_materials_names_every_package_with_its_hashes(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "marsh"))
    variables = {"IMAGE_GIT_COMMIT": "1" * 40, "IMAGE_BUILD_DATE": "2026-06-01T00:00:00Z", "FLOAT_DATE": ""}
    text = run("dump-sbom", **variables).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    (lake,) = (one for one in bill["components"] if one["name"] == "lake")
    assert [one["purl"] for one in lake["components"]] == ["pkg:pypi/heron@1.0", "pkg:pypi/marsh@1.0"]
    frozen = (environments / "lake" / "venv" / "resolved.txt").read_text()
    for one in lake["components"]:
        assert all(found["value"] in frozen for found in one["properties"])
        assert one["properties"]
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert needs["lake/marsh"] == ["lake/heron"]
    assert bill["metadata"]["component"]["version"] == "1" * 40
    assert run("dump-sbom", **variables).stdout == text


def test_two_builds_of_one_date_are_identical(run: Run, environments: Path, index: Path) -> None:
    with DatedIndex(index) as dated:
        dated.publish("heron-1.0", "2026-05-30")
        dated.publish("heron-2.0", "2026-06-02")
        spec = write_list(environments / "lake" / "lists", "birds.pip", "heron")
        found = []
        for _ in range(2):
            run("env-create", "lake", FLOAT_DATE="2026-06-01", UV_CONFIG_FILE=str(dated.settings))
            run("env-update", "lake", spec, FLOAT_DATE="2026-06-01", UV_CONFIG_FILE=str(dated.settings))
            run("env-freeze", "lake", FLOAT_DATE="2026-06-01")
            found.append(
                [(environments / "lake" / f"lake-frozen.{kind}").read_text() for kind in ("txt", "yml")]
            )
            write_wheel(index, "heron", "1.5")
            dated.publish("heron-1.5", "2026-06-03")
        assert found[0] == found[1]
        assert "heron==1.0" in found[0][0]
        run("env-create", "lake", UV_CONFIG_FILE=str(dated.settings))
        run("env-update", "lake", spec, UV_CONFIG_FILE=str(dated.settings))
        assert json.loads(run("dump-versions").stdout)["environments"] == {"lake": {"heron": "2.0"}}


def test_floating_image_passes_with_an_environment_that_is_always_frozen(
    run: Run, environments: Path
) -> None:
    spec = write_list(environments / "night" / "lists", "night.pip", "heron<2")
    run("env-create", "night", spec)
    run("env-freeze", "night")
    frozen = (environments / "night" / "night-frozen.txt").read_text()
    run("env-create", "night", USE_FROZEN="1")
    run("env-create", "lake", write_list(environments / "lake" / "lists", "lake.pip", "heron"))
    run("test-environments")
    assert (environments / "night" / "night-frozen.txt").read_text() == frozen
    assert "heron==2.0" in (environments / "lake" / "lake-frozen.txt").read_text()
    # Its versions can be the begin of another environment.
    run("env-clone", "night", "sea")
    assert json.loads(run("dump-versions").stdout)["environments"]["sea"] == {"heron": "1.0"}


def test_list_that_was_corrected_replaces_the_one_that_failed(run: Run, environments: Path) -> None:
    lists = environments / "lake" / "lists"
    run("env-create", "lake", write_list(lists, "lake.pip", "heron>=2"))
    run("env-update", "lake", write_list(lists, "more.pip", "marsh", "hostkernel"), status=1)
    run("env-update", "lake", write_list(lists, "more.pip", "hostkernel"))
    run("env-update", "lake", write_list(lists, "lake.pip", "heron<2"))
    found = json.loads(run("dump-versions").stdout)["environments"]["lake"]
    assert found == {"heron": "1.0", "hostkernel": "1.0"}


@pytest.mark.parametrize(
    ("script", "words", "expected"),
    [
        ("env-create", ["my lake"], "'my lake' is not a name of an environment"),
        ("env-create", ["../lake"], "'../lake' is not a name of an environment"),
        ("env-create", ["lake", "nowhere.pip"], "nowhere.pip does not exist"),
        ("env-clone", ["nowhere", "lake"], "The environment nowhere does not exist: create it"),
        ("env-update", ["nowhere", "a.pip"], "The environment nowhere does not exist: create it"),
        ("env-freeze", ["nowhere"], "The environment nowhere does not exist: create it"),
        ("install-common", ["nowhere"], "nowhere: "),
        ("test-imports", ["nowhere"], "The environment nowhere does not exist: create it"),
        ("test-notebooks", ["nowhere"], "The environment nowhere does not exist: create it"),
        ("env-diff", ["old.txt", "new.txt"], "old.txt does not exist"),
    ],
)
def test_what_is_missing_is_named(
    run: Run, environments: Path, script: str, words: list[str], expected: str
) -> None:
    common = environments.parent / "common"
    common.mkdir()
    assert expected in run(script, *words, status=1, COMMON_ENV_DIR=str(common)).stderr
    assert not [path for path in environments.rglob("*") if path.name != ".gitignore"]


def test_network_that_is_away_is_named_with_the_environment(
    run: Run, environments: Path, index: Path
) -> None:
    settings = index / "away.toml"
    settings.write_text("[[index]]\nurl = 'http://127.0.0.1:9/simple'\ndefault = true\n")
    run("env-create", "lake")
    spec = write_list(environments / "lake" / "lists", "birds.pip", "heron")
    variables = {"UV_CONFIG_FILE": str(settings), "UV_HTTP_RETRIES": "0"}
    refused = run("env-update", "lake", spec, status=1, **variables).stderr
    assert refused.startswith("env-update: lake: uv pip compile failed (birds.pip).")
    assert "127.0.0.1:9" in refused


def test_common_lists_that_are_missing_are_named(run: Run, environments: Path) -> None:
    run("env-create", "lake")
    common = environments.parent / "common"
    common.mkdir()
    refused = run("install-common", "lake", status=1, COMMON_ENV_DIR=str(common)).stderr
    assert f"lake: {common} has no lists of packages" in refused


def test_every_module_and_notebook_is_tried_whatever_is_wrong_with_one(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake" / "lists", "lake.pip", "heron"))
    tests = environments / "lake" / "tests"
    write_list(tests, "imports", "os; print('no')", "heron")
    write_list(tests, "notebooks", "nowhere.ipynb")
    printed = run("test-environments", status=1).stdout
    assert "FAILED lake: import os; print('no') \"os; print('no')\" is not the name of a module." in printed
    assert "ok     lake: import heron" in printed
    assert "FAILED lake: nowhere.ipynb: " in printed


def test_module_whose_import_kills_python_is_named(run: Run, environments: Path, index: Path) -> None:
    write_wheel(index, "crash", "1.0", "import os; os._exit(11)")
    run("env-create", "lake", write_list(environments / "lake" / "lists", "lake.pip", "crash"))
    printed = run("test-imports", "lake", "crash", status=1).stdout
    assert printed == "FAILED lake: import crash exit status 11\n"


def test_equal_versions_with_other_files_differ(run: Run, tmp_path: Path) -> None:
    old = write_list(tmp_path, "old.txt", "heron==2.0 \\", f"    --hash=sha256:{'0' * 64}")
    new = write_list(tmp_path, "new.txt", "heron==2.0 \\", f"    --hash=sha256:{'1' * 64}")
    assert run("env-diff", old, new, status=1).stdout == "heron 2.0 has other files.\n"

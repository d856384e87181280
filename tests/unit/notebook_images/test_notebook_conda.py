"""Packages of conda, with a stand-in for micromamba that fills prefixes from a folder of files."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from notebook_wheels import PATH, SCRIPTS, Run, write_list, write_wheel

MICROMAMBA = """#!{python}
import hashlib, json, re, subprocess, sys
from pathlib import Path
from urllib.parse import urlsplit
words = sys.argv[1:]
open({calls!r}, "a").write(" ".join(words) + "\\n")
def take(name):
    found = []
    while name in words:
        at = words.index(name)
        found.append(words[at + 1])
        del words[at : at + 2]
    return found
(prefix,), channels, files = take("--prefix"), take("--channel"), take("--file")
wanted = [one for one in words[1:] if not one.startswith("-")]
if files:
    lines = Path(files[0]).read_text().splitlines()
    assert lines[0] == "@EXPLICIT"
    chosen = [Path(urlsplit(line).path) for line in lines[1:]]
    for line, path in zip(lines[1:], chosen):
        if hashlib.md5(path.read_bytes()).hexdigest() != line.partition("#")[2]:
            sys.exit(f"{{path.name}}: the hash differs")
else:
    chosen = []
    for one in wanted:
        name = re.split("[=<> ]", one)[0]
        found = sorted(path for channel in channels for path in Path(channel).glob(f"{{name}}-*.conda"))
        if not found:
            sys.exit(f"nothing provides {{one}}")
        chosen.append(found[-1])
subprocess.run(["uv", "venv", "--quiet", "--python", {python!r}, prefix], check=True)
(Path(prefix) / "conda-meta").mkdir()
for path in chosen:
    name, version, build = path.stem.rsplit("-", 2)
    content = path.read_bytes()
    record = dict(name=name, version=version, build=build, url=path.as_uri(), subdir="linux-64",
                  md5=hashlib.md5(content).hexdigest(), sha256=hashlib.sha256(content).hexdigest())
    (Path(prefix) / "conda-meta" / f"{{path.stem}}.json").write_text(json.dumps(record))
    if content == b"python":
        subprocess.run(["uv", "pip", "install", "--quiet", "--no-deps", "--python", prefix + "/bin/python",
                        f"{{name}}=={{version}}"], check=True)
"""


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    folder = tmp_path / "channel"
    folder.mkdir()
    for name in ("python-3.12.1-0", "cfitsio-4.1.0-h1", "cfitsio-4.0.0-h1"):
        (folder / f"{name}.conda").write_text(name)
    # A package of Python, which conda installs itself.
    (folder / "heron-1.0-py_0.conda").write_text("python")
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "tools"
    folder.mkdir()
    program = folder / "micromamba"
    program.write_text(MICROMAMBA.format(python=sys.executable, calls=str(tmp_path / "calls")))
    program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{PATH}"}


def a_list(environments: Path, channel: Path) -> Path:
    lines = [f"channels: [{channel}]", "dependencies:", "  - python", "  - cfitsio", "  - heron"]
    return write_list(environments / "lake" / "lists", "lake.yml", *lines, "  - pip: [marsh]")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("lake.conda", ["cfitsio"]),
        ("lake.yml", ["channels: [conda-forge]", "dependencies:", "  - cfitsio", "  - pip: [heron]"]),
    ],
)
def test_packages_of_conda_are_refused_with_what_to_do(
    run: Run, environments: Path, tmp_path: Path, name: str, lines: list[str]
) -> None:
    uv = tmp_path / "only-uv" / "uv"
    uv.parent.mkdir()
    uv.symlink_to(Path(sys.executable).with_name("uv"))
    variables = {"PATH": f"{uv.parent}:/usr/bin:/bin"}
    spec = write_list(environments / "lake", name, *lines)
    refused = run("env-create", "lake", spec, status=1, **variables).stderr
    assert refused.startswith("env-create: lake: Conda's packages need micromamba, which is missing here")
    assert ".pip file" in refused
    assert f"({name})" in refused


def test_list_without_a_channel_is_refused(run: Run, environments: Path, tools: dict[str, str]) -> None:
    spec = write_list(environments / "lake" / "lists", "lake.conda", "cfitsio")
    refused = run("env-create", "lake", spec, status=1, **tools).stderr
    assert "lake: Conda's packages need a channel: name one under `channels:`" in refused
    assert "(lake.conda)" in refused


def test_environment_of_conda_and_pypi_is_frozen_and_made_again(
    run: Run, environments: Path, channel: Path, tools: dict[str, str], index: Path
) -> None:
    run("env-create", "lake", a_list(environments, channel), **tools)
    # conda's heron stays, with its version.
    expected = {"python": "3.12.1", "cfitsio": "4.1.0", "heron": "1.0", "marsh": "1.0"}
    versions = json.loads(run("dump-versions").stdout)["environments"]
    assert versions == {"lake": expected}
    bill = run("dump-sbom").stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    assert "pkg:conda/cfitsio@4.1.0?build=h1&subdir=linux-64" in bill
    run("test-environments", "lake")
    folder = environments / "lake"
    assert "cfitsio-4.1.0-h1.conda#" in (folder / "lake-frozen.conda").read_text()
    assert "heron" not in (folder / "lake-frozen.txt").read_text()
    yml = (folder / "lake-frozen.yml").read_text()
    assert f"channels:\n  - {channel}\n" in yml
    assert "  - cfitsio=4.1.0=h1\n" in yml
    assert "      - marsh==1.0\n" in yml
    # Newer packages on both sides.
    (channel / "cfitsio-4.2.0-h1.conda").write_text("newer")
    write_wheel(index, "marsh", "1.1", needs="heron<2")
    run("env-create", "lake", USE_FROZEN="1", **tools)
    assert json.loads(run("dump-versions").stdout)["environments"] == versions
    run("env-create", "lake", a_list(environments, channel), **tools)
    again = json.loads(run("dump-versions").stdout)["environments"]["lake"]
    assert again == {**expected, "cfitsio": "4.2.0", "marsh": "1.1"}
    old = folder / "lake-frozen.conda"
    new = write_list(
        environments, "new.conda", *old.read_text().replace("cfitsio-4.1", "cfitsio-4.2").splitlines()
    )
    assert "cfitsio rose from 4.1.0 to 4.2.0." in run("env-diff", old, new, status=1).stdout
    # A file that changed is not what was frozen.
    (channel / "cfitsio-4.1.0-h1.conda").write_text("other")
    refused = run("env-create", "lake", status=1, USE_FROZEN="1", **tools).stderr
    assert "lake: micromamba create failed.\ncfitsio-4.1.0-h1.conda: the hash differs" in refused


def test_packages_of_conda_can_be_added_later_and_conflicts_name_the_list(
    run: Run, environments: Path, channel: Path, tools: dict[str, str], tmp_path: Path
) -> None:
    lists = environments / "lake" / "lists"
    run("env-create", "lake", write_list(lists, "birds.pip", "marsh"), **tools)
    more = write_list(lists, "more.conda", "cfitsio  # to read images")
    run("env-update", "lake", more, CONDA_CHANNELS=str(channel), **tools)
    found = json.loads(run("dump-versions").stdout)["environments"]["lake"]
    assert found["cfitsio"] == "4.1.0"
    assert found["marsh"] == "1.0"
    call = (tmp_path / "calls").read_text()
    version = "{}.{}".format(*sys.version_info)
    assert f"--override-channels --channel {channel} python={version} cfitsio\n" in call
    bad = write_list(lists, "bad.conda", "nowhere")
    refused = run("env-update", "lake", bad, status=1, CONDA_CHANNELS=str(channel), **tools).stderr
    assert "lake: micromamba create failed.\nnothing provides nowhere" in refused
    assert "bad.conda" in refused


def test_dated_build_with_packages_of_conda_is_refused(
    run: Run, environments: Path, channel: Path, tools: dict[str, str]
) -> None:
    spec = a_list(environments, channel)
    refused = run("env-create", "lake", spec, status=1, FLOAT_DATE="2026-06-01", **tools).stderr
    assert "FLOAT_DATE is 2026-06-01, but lake.yml lists packages of conda" in refused


@pytest.fixture(scope="module")
def lists() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location("package_lists", SCRIPTS / "package_lists.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dependencies: [pip: heron]", "pip is 'heron': it must be a list"),
        ("dependencies: heron", "dependencies is 'heron'"),
        ("dependencies: [3]", r"dependencies is \[3\]"),
        ("dependencies: [npm: [left-pad]]", "npm; only pip"),
        ("- heron", "no `dependencies:`"),
        ("channels: conda-forge\ndependencies: [cfitsio]", "channels is 'conda-forge'"),
        ("a: [", "is not YAML"),
        (b"\xff\xfe", "is not text"),
    ],
)
def test_list_that_is_not_one_is_refused_by_name(
    lists: ModuleType, tmp_path: Path, text: str | bytes, reason: str
) -> None:
    path = tmp_path / "lake.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(lists.RefusedError, match=rf"lake\.yml.*{reason}"):
        lists.read_list(path)


def test_lists_are_read_without_comments_and_find_their_neighbours(lists: ModuleType, tmp_path: Path) -> None:
    path = write_list(
        tmp_path, "a.pip", "# birds", "heron>1  # grey", "-r more.txt", "own @ file:///x#egg=own"
    )
    assert lists.read_list(path).pip == ("heron>1", f"-r {tmp_path}/more.txt", "own @ file:///x#egg=own")
    spec = write_list(tmp_path, "a.yml", "dependencies:", "  - python=3.12", "  - pip", "  - pip: [heron]")
    assert lists.read_list(spec).conda == ()

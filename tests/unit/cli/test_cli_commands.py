"""What holds for every command."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from prompt_processing.cli.aliases import ALIASES
from prompt_processing.cli.command import Command, option
from prompt_processing.cli.commands import COMMANDS, GROUPS, SECTIONS
from prompt_processing.cli.main import main, prompt, run

PROJECT = Path(__file__).parents[3]

SHOW_ALL_HELP = """
import contextlib, io, json, sys
from prompt_processing.cli.commands import COMMANDS, GROUPS
from prompt_processing.cli.main import run

loaded = {}
helps = [*GROUPS, *COMMANDS]
# Those that list settings come last: they may load what checks these.
for words in ["", *sorted(helps, key=lambda words: words in sys.argv[1:])]:
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert run(*words.split(), "--help") == 0, words
    assert shown.getvalue().startswith(f"Usage: prompt {words}".rstrip()), words
    loaded[words] = sorted(sys.modules)
print(json.dumps(loaded))
"""

SERVICES = {
    *("worker http", "worker stream", "fanout", "writer", "initializer", "raws serve", "alerts resend"),
    *("tester upload", "tester upload-hsc-rc2", "streams trim", "streams watch"),
    *("replay", "nights project"),
}
"""Commands whose help lists settings."""

HEAVY = {
    "lsst.daf.butler", "lsst.pipe.base", "lsst.dax.apdb", "numba", "sqlalchemy", "scipy", "sep", "matplotlib",
}  # fmt: skip
NUMERICS = {"astropy", "numpy", "pandas", "pydantic", "confluent_kafka", "lsst", "rich"}


def command_of(words: tuple[str, ...]) -> click.Command | None:
    command: click.Command | None = prompt
    for word in words:
        assert isinstance(command, click.Group), words
        command = command.get_command(click.Context(command), word)
    return command


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_ALL_HELP, *SERVICES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_of_every_command_loads_neither_butler_nor_compiled_numerics(loaded):
    assert set(loaded) == {"", *COMMANDS, *GROUPS}
    for words, modules in loaded.items():
        assert not HEAVY.intersection(modules), words


def test_help_that_lists_no_settings_loads_next_to_nothing(loaded):
    for words in set(loaded) - SERVICES:
        assert not NUMERICS.intersection(loaded[words]), words


def test_first_page_lists_every_command_under_a_heading(capsys):
    assert run("--help") == 0
    page = capsys.readouterr().out
    positions = [page.index(f"\n{section}:") for section in SECTIONS]
    assert positions == sorted(positions)
    for words, entry in {**GROUPS, **COMMANDS}.items():
        if " " not in words:
            assert re.search(rf"^  {words} +{re.escape(entry.summary[:30])}", page, re.MULTILINE), words


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_has_an_example_that_names_it(words, capsys):
    assert run(*words.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert f"prompt {words}" in shown.split("Examples:")[1]


def test_every_installed_name_is_in_the_table_of_aliases():
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts.values()) == {"prompt_processing.cli.main:main"}
    assert {name for name in ALIASES if name.startswith("prompt-")} == set(scripts) - {"prompt"}


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_stands_for_a_command(name):
    assert " ".join(ALIASES[name]) in {**COMMANDS, **GROUPS}
    assert command_of(ALIASES[name]) is not None


@pytest.mark.parametrize("command_line", [["/opt/bin/prompt-logs"], ["-m", "prompt-logs"]])
def test_alias_works_as_the_programs_name_and_as_its_first_argument(command_line, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [*command_line, "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out.startswith("Usage: prompt logs ")


def test_wrappers_in_bin_stand_for_commands():
    wrappers = [
        path.name
        for path in (PROJECT / "bin").iterdir()
        if path.is_file() and "-m prompt_processing " in path.read_text()
    ]
    assert set(wrappers) - {"demo", "edge", "hub"} == {
        name for name in ALIASES if (PROJECT / "bin" / name).exists()
    }
    assert {"make-central-repo", "make_export", "import_export"} <= set(wrappers)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("nothing", "No such command 'nothing'"),
        ("logs --level LOUD x", "'LOUD' is not one of"),
        ("difference one.fits", "Missing argument 'TEMPLATE'"),
        ("difference a b --threshold high", "'high' is not a valid float"),
        ("simulate --detectors 1,x night", "'1,x' is not a list of whole numbers"),
        ("simulate --instrument Kodak night", "'Kodak' is not one of"),
        ("initializer --night tomorrow", "'tomorrow' is not of the form YYYY-MM-DD"),
        ("demo --platform keda", "needs --services"),
        ("demo --miniature 10", "COLUMNSxROWS"),
        ("demo --detectors R22_S11 X99", "no detector 'X99'"),
        ("repo make --add somewhere", "--add needs"),
        ("repo check", "set CENTRAL_REPO"),
        ("repo dataset-types", "set CENTRAL_REPO"),
        ("alerts show /nonexistent", "does not exist"),
        ("apdb create sqlite://", "Missing argument 'CONFIG'"),
    ],
)
def test_wrong_arguments_end_with_one_clear_line_and_status_2(words, complaint, capsys, monkeypatch):
    for name in ("CENTRAL_REPO", "RUBIN_INSTRUMENT"):
        monkeypatch.delenv(name, raising=False)
    assert run(*words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("Error: ")
    assert complaint in captured.err.splitlines()[-1]


def test_help_of_the_worker_is_about_our_settings(capsys):
    assert run("worker", "http", "--help") == 0
    shown = capsys.readouterr().out
    required, optional = shown.split("Environment variables that must be set:")[1].split("with a default:")
    assert "CENTRAL_REPO" in required
    assert re.search(r"WORKER_TIMEOUT +Time limit for a visit, in seconds", optional)
    assert "--bind" not in shown
    assert "--worker-class" not in shown


@pytest.mark.parametrize("words", sorted(SERVICES))
def test_help_of_each_service_explains_each_of_its_settings(words, capsys):
    assert run(*words.split(), "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("Environment variables"))
    names = [n for n, line in enumerate(lines) if n > begin and re.match("  [A-Z][A-Z0-9_]+( |$)", line)]
    assert names
    for number in names:
        inline = len(lines[number].split()) > 1
        assert inline or lines[number + 1].startswith("      "), lines[number]


def test_option_with_several_values_is_the_same_as_one_repeated():
    chosen: list[tuple[str, ...]] = []

    @click.command(cls=Command)
    @option("--detectors", several=True)
    @option("--seed", type=int)
    def command(detectors, seed):
        chosen.append(detectors)

    for words in ("--detectors 1 2 --seed 2", "--detectors=1 --detectors=2", "--seed 1 --detectors 1 2"):
        command.main(words.split(), standalone_mode=False)
    assert chosen == [("1", "2")] * 3


def test_version_is_that_of_the_installed_package(capsys):
    assert run("--version") == 0
    assert re.match(r"prompt \d+\.\d+", capsys.readouterr().out)


def test_commands_are_completed_without_being_imported():
    environment = {"COMP_WORDS": "prompt repo exp", "COMP_CWORD": "2", "_PROMPT_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import sys; sys.argv[0] = 'prompt'\n"
         "from prompt_processing.cli.main import main; main()"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,export"]
    assert "prompt_processing.cli.repo.export" not in done.stderr


@pytest.mark.parametrize(("platform", "word"), [(None, "http"), ("knative", "http"), ("keda", "stream")])
def test_platform_chooses_the_worker_where_none_is_named(platform, word, monkeypatch):
    monkeypatch.delenv("PLATFORM", raising=False)
    if platform is not None:
        monkeypatch.setenv("PLATFORM", platform)
    started = []
    command = command_of(("worker", word))
    monkeypatch.setattr(command, "callback", lambda **_: started.append(word))
    assert run("worker") == 0
    assert started == [word]


def test_worker_of_an_unknown_platform_does_not_start(monkeypatch, capsys):
    monkeypatch.setenv("PLATFORM", "cron")
    assert run("worker") == 3
    assert "PLATFORM" in capsys.readouterr().err


def test_commands_do_not_warn_of_types_of_other_stacks() -> None:
    from lsst.daf.butler import StorageClass

    from prompt_processing.cli.options import log_to_stderr

    log = logging.getLogger("lsst.daf.butler._storage_class")
    before, said = log.level, io.StringIO()
    handler = logging.StreamHandler(said)
    log.addHandler(handler)
    try:
        log_to_stderr()
        foreign = StorageClass("Foreign", dict, converters={"elsewhere.Image": "builtins.dict"})
        assert not foreign.can_convert(StorageClass("Text", str))
        assert said.getvalue() == ""
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


@pytest.mark.parametrize(
    "start",
    [
        "from prompt_processing.cli.flow import run; begin = lambda: run.command_of('reprocess-night')",
        "from prompt_processing.cli.night.worker import prepare_process as begin",
    ],
)
@pytest.mark.parametrize(("told", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_flows_and_workers_use_one_thread_of_blas_unless_told_otherwise(start, told, threads):
    code = f"{start}; import os, sys; assert 'numpy' not in sys.modules; begin()"
    code += "; print(os.environ['OPENBLAS_NUM_THREADS'])"
    others = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=others | told, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == threads

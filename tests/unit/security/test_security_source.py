"""What no module of the project does, whoever writes the next one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
SOURCES = sorted((PROJECT / "python").rglob("*.py"))
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "telnetlib"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "tempfile.mktemp"}
UNSAFE_YAML = {
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "yaml.unsafe_load_all",
    "yaml.full_load_all",
}
RESTRICTED_UNPICKLER = {"prompt_processing/images/afw/pickles.py"}
"""It records what a pickle names, and imports and calls none of it."""
READS_PICKLES = {"np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle"}


def name_of(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{name_of(value)}.{attr}"
    return ""


def calls(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield name_of(node.func), {word.arg: word.value for word in node.keywords}, node


def is_constant(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def plain_loaders(tree: ast.AST) -> set[str]:
    """Loaders that may be used: the safe ones, and classes of the module that are made of them."""
    safe = {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader"}
    return safe | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.bases and {name_of(base) for base in node.bases} <= safe
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT / "python")))
def test_module_does_nothing_unsafe(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0
    }
    if str(path.relative_to(PROJECT / "python")) in RESTRICTED_UNPICKLER:
        imported.discard("pickle")
    assert not imported & FORBIDDEN_IMPORTS
    for name, words, node in calls(tree):
        where = f"{path.name}:{node.lineno}"
        assert name not in FORBIDDEN_CALLS, where
        assert name not in UNSAFE_YAML, where
        assert not is_constant(words.get("shell"), True), where
        assert not is_constant(words.get("verify"), False), f"{where}: certificates are checked"
        if name in READS_PICKLES:
            assert name.endswith(".load"), where
            assert is_constant(words.get("allow_pickle"), False), f"{where}: allow_pickle=False is not said"
        if name == "yaml.load":
            assert name_of(words.get("Loader") or ast.Constant(0)) in plain_loaders(tree), where


def test_the_tests_of_this_file_can_fail():
    bad = ast.parse("import subprocess\nsubprocess.run('x', shell=True)\nyaml.load(x)\n")
    names = {name: words for name, words, _ in calls(bad)}
    assert is_constant(names["subprocess.run"]["shell"], True)
    assert names["yaml.load"] == {}
    assert "Plain" in plain_loaders(ast.parse("class Plain(yaml.SafeLoader): ..."))
    assert "Other" not in plain_loaders(ast.parse("class Other(yaml.Loader): ..."))

"""No code depends on which camera it handles: what differs between cameras is in their folders."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.instruments.description.registry import instrument_folders, load_instrument

PACKAGE = Path(prompt_processing.__path__[0])


def names() -> set[str]:
    """Names of cameras and of the makers of their detectors, in lower case."""
    described = [load_instrument(name) for name in instrument_folders()]
    vendors = {detector.vendor for one in described for detector in one.camera.detectors.values()}
    # A header that a camera's own software writes may depend on the maker of the detector.
    return {one.name.lower() for one in described} | {
        vendor.lower() for vendor in vendors - {"", "E2V", "ITL"}
    }


def texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def decisions(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line of each text that decides something: in comparisons, cases, keys and prefixes."""
    for node in ast.walk(module):
        if isinstance(node, ast.Compare | ast.MatchValue):
            yield from ((node.lineno, text) for text in texts(node))
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                if key is not None:
                    yield from ((node.lineno, text) for text in texts(key))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("startswith", "endswith", "get")
        ):
            yield from ((node.lineno, text) for argument in node.args for text in texts(argument))


def test_no_code_decides_by_the_name_of_a_camera():
    known = names()
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in decisions(ast.parse(path.read_text(encoding="utf-8")))
        if text.lower() in known or text in ("LSST", "MC", "AT", "CC")
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        'if camera == "HSC": pass',
        'x = 1 if name in ("DECam", "small") else 2',
        'LEVELS = {"LSSTCam": 3}',
        'name.startswith(("LSST", "LATISS"))',
        'match name:\n    case "HSC": pass',
    ],
)
def test_each_way_to_decide_by_a_name_is_found(code):
    known = names()
    assert any(text.lower() in known or text == "LSST" for _, text in decisions(ast.parse(code)))

"""Whatever a worker hands to another thread takes the visit's name for the log along."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import prompt_processing

PACKAGE = Path(prompt_processing.__path__[0])
ROOMS = (
    "transport", "telemetry", "instruments", "images", "imaging", "apdb", "butler", "difference", "alerts",
    "association", "tasks", "nights", "activator",
)  # fmt: skip
"""What runs in a worker."""

OF_NO_VISIT = {"self._server.serve_forever", "server.serve_forever"}
"""Threads that answer questions about the process."""

CARRY_THEMSELVES = {"telemetry/sasquatch.py: self._work", "nights/publishing.py: self._work"}
"""Threads that outlive visits and take each piece of work with its own context."""


def handed_over(tree: ast.AST) -> list[ast.expr]:
    """Functions that are passed to a thread, a timer or a pool of threads."""
    found: list[ast.expr] = []
    pools = {
        ast.unparse(item.optional_vars)
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if item.optional_vars is not None and "ThreadPoolExecutor(" in ast.unparse(item.context_expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.rpartition(".")[2] == "Thread":
            found += [word.value for word in node.keywords if word.arg == "target"]
        elif name.rpartition(".")[2] == "Timer":
            found.append(node.args[1])
        elif name.rpartition(".")[0] in pools and name.endswith((".map", ".submit")):
            found.append(node.args[0])
    return found


def test_every_hand_over_carries_the_context() -> None:
    forgotten = []
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if not any(word in source for word in ("ThreadPoolExecutor", "Thread(", "Timer(")):
                continue
            for function in handed_over(ast.parse(source)):
                text = ast.unparse(function)
                where = f"{path.relative_to(PACKAGE)}: {text}"
                if not (
                    text.startswith("in_this_context(") or text in OF_NO_VISIT or where in CARRY_THEMSELVES
                ):
                    forgotten.append(where)
    assert forgotten == []


@pytest.mark.parametrize(
    "source",
    [
        "threading.Thread(target=work)",
        "threading.Timer(1.0, work)",
        "with ThreadPoolExecutor(2) as pool:\n    pool.map(work, x)",
        "with ThreadPoolExecutor(2) as pool:\n    pool.submit(work, x)",
    ],
)
def test_hand_over_is_noticed(source: str) -> None:
    assert [ast.unparse(function) for function in handed_over(ast.parse(source))] == ["work"]

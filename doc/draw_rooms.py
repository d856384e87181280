"""Draw the rooms of the package and the direction of their imports, from import-linter's contract.

python doc/draw_rooms.py        writes doc/images/rooms.svg
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "doc" / "images" / "rooms.svg"

CAPTIONS = {
    "prompt_delivery": "releases and charts",
    "cli": "the command prompt",
    "demo": "a night, scored",
    "watch": "raws of a folder",
    "flows": "the work of the day",
    "navigator": "pages to look closely",
    "board": "the page of the night",
    "edge": "one address, one login",
    "hub": "notebooks beside a night",
    "operators": "logs, a look into a pod",
    "commissioning": "describes cameras",
    "tester": "plays the telescope",
    "initializer": "a night's output runs",
    "batch": "pipelines by day",
    "fanout": "a visit to its detectors",
    "repository": "central repositories",
    "services": "real servers for tests",
    "butler_writer": "enters outputs",
    "raw_microservice": "which raws arrived",
    "activator": "the worker",
    "archive": "nights as files",
    "reprocessing": "nights again, compared",
    "simulation": "sky, telescope, camera",
    "settings": "settings, exit codes",
    "compilation": "numerics ahead of time",
    "embedded_broker": "Kafka in one process",
    "nights": "what became of visits",
    "tasks": "pipeline tasks",
    "association": "DiaObjects, planets",
    "alerts": "packets, sending, keeping",
    "apdb": "all that speaks to an APDB",
    "butler": "all that knows the Butler",
    "difference": "any two FITS images",
    "imaging": "numerics, step by step",
    "images": "images and their files",
    "instruments": "cameras, keys, headers",
    "transport": "Kafka, S3, HTTP",
    "telemetry": "logs, metrics, Sasquatch",
    "domain": "plain data and rules",
}
"""What a room is, in a few words."""

PURE = {"imaging", "images", "difference", "domain"}
"""Rooms that load no Butler, database or broker."""

PER_LINE, WIDTH, HEIGHT, GAP, PAD, LEFT = 5, 158, 38, 8, 6, 46

_STYLE = (
    ".bg{fill:#fff}.layer{fill:#f3f4f6}.room{fill:#dfe9f7;stroke:#37598b;stroke-width:1.3}"
    ".pure{fill:#e2f0dc;stroke:#4b7a3b;stroke-width:1.3}.name{fill:#222;font-weight:600}"
    ".caption{fill:#444;font-size:11px}.arrow{stroke:#555;stroke-width:1.8;fill:none;marker-end:url(#m)}"
)


def layers() -> list[list[str]]:
    """Return the rooms of each layer, from the top of the contract to its bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (contract for contract in contracts if contract["name"].startswith("Imports flow one way"))
    return [
        [room.strip("() ").removeprefix("prompt_processing.") for room in layer.split("|")]
        for layer in found["layers"]
    ]


def _room(name: str, x: int, y: int) -> str:
    kind = "pure" if name in PURE else "room"
    centre = f'x="{x + WIDTH // 2}" text-anchor="middle"'
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="name" {centre} y="{y + 16}">{escape(name)}</text>'
        f'<text class="caption" {centre} y="{y + 31}">{escape(CAPTIONS[name])}</text>'
    )


def draw() -> str:
    """Return the picture as SVG."""
    y, parts = 14, []
    across = PER_LINE * WIDTH + (PER_LINE + 1) * GAP
    for rooms in layers():
        lines = [rooms[start : start + PER_LINE] for start in range(0, len(rooms), PER_LINE)]
        height = len(lines) * (HEIGHT + GAP) - GAP + 2 * PAD
        parts.append(f'<rect class="layer" x="{LEFT}" y="{y}" width="{across}" height="{height}" rx="8"/>')
        for row, line in enumerate(lines):
            start = LEFT + (across - len(line) * (WIDTH + GAP) + GAP) // 2
            parts += [
                _room(name, start + column * (WIDTH + GAP), y + PAD + row * (HEIGHT + GAP))
                for column, name in enumerate(line)
            ]
        y += height + 4
    total = y + 30
    key = (
        f'<rect class="pure" x="{LEFT}" y="{y + 4}" width="16" height="12" rx="2"/>'
        f'<text class="caption" x="{LEFT + 22}" y="{y + 14}">'
        "loads no Butler, no database and no broker</text>"
    )
    arrow = (
        f'<path class="arrow" d="M24 20V{y - 12}"/>'
        f'<text class="caption" transform="translate(16 {y // 2}) rotate(-90)" text-anchor="middle">'
        "imports go down, never up or sideways</text>"
    )
    width = LEFT + across + 14
    rooms = ", ".join(room for layer in layers() for room in layer)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="Rooms of the package from top to bottom: {escape(rooms)}">\n'
        f"<style>{_STYLE}</style>\n"
        '<defs><marker id="m" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L10 5L0 10z" fill="#555"/></marker></defs>\n'
        f'<rect class="bg" width="{width}" height="{total}"/>\n'
        + "\n".join([*parts, arrow, key])
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())

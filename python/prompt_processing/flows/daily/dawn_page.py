"""The page that leads to what the flows of the day have made of the demo's night."""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prompt_processing.butler.opening import open_repository

from .demo_night import DemoNight

__all__ = ["write_dawn_page"]

_PLOTS = 9
_LONGEST_REASON = 400
_PAGES = {
    "night-report": ("report.html", "the report of the night"),
    "build-templates": ("templates.html", "the templates"),
    "export-night": ("archive/", "the archive"),
}
_SECTIONS = {
    "reprocess-night": ("again", "the comparison"),
    "night-cube": ("sky", "the maps"),
    "draw-night": ("plots", "plots of the last visit"),
}
_STYLE = """
body { font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #1a1a1a; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 1.8em; border-bottom: 1px solid #ccc; padding-bottom: .2em; }
table { border-collapse: collapse; } tbody th { white-space: nowrap; }
th, td { padding: .3em .9em; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #888; } tbody tr:nth-child(even) { background: #f3f3f3; }
td.number { text-align: right; } pre { overflow-x: auto; font-size: 13px; }
img { max-width: 100%; height: auto; background: #fff; border: 1px solid #ddd; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(20em, 1fr)); gap: 1em; }
figure { margin: 0; } figcaption { font-size: 14px; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #e6e6e6; } tbody tr:nth-child(even) { background: #22262d; }
  a { color: #8ab4f8; }
}
"""
_SYMBOLS = {"done": "✓ done", "failed": "✗ failed", "left out": "– left out"}


def write_dawn_page(
    path: Path, night: DemoNight, rows: Sequence[Mapping[str, object]], comparison: Path, n_gaps: int
) -> None:
    """Write the page, and the pictures that it shows into a folder beside it.

    Parameters
    ----------
    path
        Page; pages and archive of the flows are in the same folder.
    night
        The night.
    rows
        Name, outcome, seconds and reason of each flow.
    comparison
        Folder of the comparison with the second processing.
    n_gaps
        Number of gaps that were found.
    """
    pictures = path.parent / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    done = {str(row["flow"]) for row in rows if row["outcome"] == "done"}
    title = f"The day after the night {night.reported}, {night.instrument}"
    parts = [f"<h1>{html.escape(title)}</h1>", *_flows(path.parent, rows, n_gaps)]
    if "reprocess-night" in done and comparison.is_dir():
        parts += _compared(comparison, pictures)
    if "night-cube" in done:
        parts += _mapped(path.parent / "cube" / night.instrument / "pictures", night, pictures)
    if "draw-night" in done:
        parts += _drawn(night, pictures)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path.write_text(text, encoding="utf-8")


def _flows(folder: Path, rows: Sequence[Mapping[str, object]], n_gaps: int) -> Iterator[str]:
    yield '<table><thead><tr><th scope="col">flow</th><th scope="col">outcome</th>'
    yield '<th scope="col">seconds</th><th scope="col">result</th></tr></thead><tbody>'
    for row in rows:
        name = str(row["flow"])
        reason = str(row["reason"])
        result = html.escape(reason[:_LONGEST_REASON] + ("…" if len(reason) > _LONGEST_REASON else ""))
        link, text = _PAGES.get(name, ("", ""))
        section, title = _SECTIONS.get(name, ("", ""))
        if row["outcome"] == "done" and link and (folder / link).exists():
            result = f'<a href="{link}">{text}</a>'
        elif row["outcome"] == "done" and section:
            result = f'<a href="#{section}">{title}</a>'
        elif row["outcome"] == "done" and name == "catch-up":
            result = f"{n_gaps or 'no'} gap{'s' * (n_gaps != 1)}"
        yield f'<tr><th scope="row">{html.escape(name)}</th><td>{_SYMBOLS[str(row["outcome"])]}</td>'
        yield f'<td class="number">{row["seconds"]}</td><td>{result}</td></tr>'
    yield "</tbody></table>"


def _compared(comparison: Path, pictures: Path) -> Iterator[str]:
    text = (comparison / "comparison.txt").read_text(encoding="utf-8")
    shutil.copy(comparison / "comparison.png", pictures / "comparison.png")
    yield '<h2 id="again">The night processed again</h2>'
    yield "<p>The same software must find the same sources.</p>"
    yield f"<pre>{html.escape(text.partition('By visit and detector:')[0].strip())}</pre>"
    yield '<img src="pictures/comparison.png" alt="Differences between both processings.">'


def _mapped(folder: Path, night: DemoNight, pictures: Path) -> Iterator[str]:
    """Copy the maps of the night."""
    shutil.copy(folder / f"map-night-{night.reported}.png", pictures / "map.png")
    yield '<h2 id="sky">The night on the sky</h2>'
    yield '<img src="pictures/map.png" alt="Maps of visits, seeing, depth and spurious rate by band.">'


def _drawn(night: DemoNight, pictures: Path) -> Iterator[str]:
    """Copy one plot of each kind, those of the last visit."""
    from prompt_processing.repository.plots.find import read_plot, ref_of
    from prompt_processing.repository.plots.kinds import kind_of

    yield '<h2 id="plots">Plots of the last visit</h2>'
    yield '<p><code>prompt navigator</code> shows the plots of all visits.</p><div class="plots">'
    chain = f"{night.instrument}/plots/{night.night}"
    with open_repository(str(night.repository)) as butler:
        kinds = []
        for dataset_type in butler.collections.get_info(chain, include_summary=True).dataset_types or ():
            if (kind := kind_of(butler.get_dataset_type(dataset_type))) is not None:
                kinds.append(kind)
        # Those of detectors first: a focal plane needs many detectors to be of interest.
        for kind in sorted(kinds, key=lambda one: (one.name.startswith("focal_plane"), one.name))[:_PLOTS]:
            refs = butler.query_datasets(kind.name, chain, explain=False)
            if not refs:
                continue
            last = max(refs, key=lambda ref: tuple(map(str, ref.dataId.required_values)))
            content, media_type = read_plot(butler, ref_of(last, kind))
            name = f"{kind.name}.{media_type.rpartition('/')[2].partition('+')[0]}"
            (pictures / name).write_bytes(content)
            yield f'<figure><a href="pictures/{name}"><img src="pictures/{name}" alt="{kind.name}"></a>'
            yield f"<figcaption>{html.escape(kind.name)}</figcaption></figure>"
    yield "</div>"

"""``bin/charts``: write the charts' generated documents, render charts, and check the manifests."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from prompt_processing.services.installation import MissingSoftwareError

from .chart_values import ChartValuesError
from .dashboard import dashboard
from .documents import chart_documents
from .helm import ChartTree, HelmError
from .validation import ManifestError, validate_manifests

__all__ = ["documents", "main", "renderings"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        Arguments of the command line.

    Returns
    -------
    status
        0 on success; 1 if a chart has errors; 3 if software is missing.
    """
    parser = argparse.ArgumentParser(prog="bin/charts", description=__doc__)
    parser.add_argument(
        "--project", type=Path, default=Path.cwd(), help="folder with charts/, applications/ and argocd/"
    )
    parser.add_argument(
        "--others",
        type=Path,
        metavar="FOLDER",
        help="folder with charts of other projects, by name; they are left out without it",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("document", help="write the READMEs and schemas of the charts, and the dashboard")
    actions.add_parser("check", help="lint, render and validate all charts for all environments")
    render = actions.add_parser("render", help="show the manifests of an application in an environment")
    render.add_argument("application", help="such as prompt-proto-service-lsstcam, or argocd")
    render.add_argument("environment", help="such as usdfdev-prompt-processing")
    render.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="override a value, as for Helm"
    )
    options = parser.parse_args(arguments)
    try:
        match options.action:
            case "document":
                _document(options.project)
            case "check":
                _check(options.project, options.others)
            case "render":
                with tempfile.TemporaryDirectory() as folder:
                    tree = ChartTree(options.project, Path(folder), others=options.others)
                    name = options.application
                    chart = name if name == "argocd" else f"applications/{name}"
                    if options.environment not in tree.environments(chart):
                        raise HelmError(f"{chart} has no values for {options.environment}")
                    print(tree.render(chart, tree.values(chart, options.environment), options.set))
    except MissingSoftwareError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except (ChartValuesError, HelmError, ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def documents(project: Path) -> dict[Path, str]:
    """Return all generated files with their expected content.

    Parameters
    ----------
    project
        Folder of the charts.
    """
    found: dict[Path, str] = {}
    for file in sorted((*project.glob("charts/*/Chart.yaml"), *project.glob("applications/*/Chart.yaml"))):
        found |= chart_documents(file.parent)
    if (project / "argocd" / "Chart.yaml").is_file():
        found |= chart_documents(project / "argocd")
    login = project / "python/prompt_processing/hub/login.py"
    if login.is_file():
        found[project / "charts/prompt-hub/files/prompt_login.py"] = login.read_text(encoding="utf-8")
    found[project / "charts/prompt-monitoring/dashboards/prompt-processing.json"] = dashboard()
    return found


def renderings(tree: ChartTree) -> Iterator[tuple[str, str, str]]:
    """Lint and render all charts and applications.

    Parameters
    ----------
    tree
        The charts.

    Yields
    ------
    chart, environment, manifests
        For a chart, the name of its example instead of an environment.
    """
    for chart in tree.charts:
        for example, file in tree.examples(chart).items():
            tree.lint(chart, [file])
            yield chart, example, tree.render(chart, [file])
    for application in (*tree.applications, "argocd"):
        for environment in tree.environments(application):
            files = tree.values(application, environment)
            tree.lint(application, files)
            yield application, environment, tree.render(application, files)


def _document(project: Path) -> None:
    for path, content in documents(project).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            print(path.relative_to(project))


def _check(project: Path, others: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        tree = ChartTree(project, Path(folder) / "tree", others=others)
        for chart, environment, manifests in renderings(tree):
            files.append(Path(folder) / f"{Path(chart).name}-{environment}.yaml")
            files[-1].write_text(manifests)
        print(validate_manifests(files))


if __name__ == "__main__":
    sys.exit(main())

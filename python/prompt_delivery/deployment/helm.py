"""Lint and render charts with Helm, including their dependencies."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from prompt_processing.services.checking_tools import CheckingTools

__all__ = ["ChartTree", "HelmError", "is_of_others"]


class HelmError(RuntimeError):
    """Helm failed; the message is Helm's."""


def is_of_others(dependency: Mapping[str, str]) -> bool:
    """Return whether a dependency in ``Chart.yaml`` is the chart of another project."""
    return not dependency["repository"].startswith("file://")


class ChartTree:
    """Copy of the project's charts in which dependencies can be resolved.

    Parameters
    ----------
    project
        Folder with ``charts``, ``applications`` and ``argocd``.
    folder
        Folder for the copy, since Helm writes dependencies into the charts.
    software
        Finds Helm.
    others
        Folder with charts of other projects, by name. Without it, they are left out of what is rendered:
        tests need no network.

    Raises
    ------
    HelmError
        Raised if ``others`` lacks a chart that is needed.
    """

    def __init__(
        self,
        project: Path,
        folder: Path,
        software: CheckingTools | None = None,
        others: Path | None = None,
    ) -> None:
        self._folder = folder
        self._helm = str((software or CheckingTools()).helm().path)
        self._complete: set[str] = set()
        for name in ("charts", "applications", "argocd"):
            if (project / name).is_dir():
                shutil.copytree(project / name, folder / name, dirs_exist_ok=True)
        for file in folder.glob("*/*/Chart.yaml"):
            _take_others_from(file, others)

    @property
    def charts(self) -> list[str]:
        """Installable charts, such as ``charts/prompt-keda``."""
        return [name for name in self._names("charts") if self._kind(name) != "library"]

    @property
    def applications(self) -> list[str]:
        """Applications, such as ``applications/prompt-keda-hsc``."""
        return self._names("applications")

    def path(self, chart: str) -> Path:
        """Return the folder of a chart's copy."""
        return self._folder / chart

    def environments(self, chart: str) -> list[str]:
        """Return the environments that a chart has values for."""
        files = self.path(chart).glob("values-*.yaml")
        return sorted(file.stem.removeprefix("values-") for file in files)

    def values(self, application: str, environment: str) -> list[Path]:
        """Return an application's files of values for an environment, as Argo CD passes them to Helm."""
        folder = self.path(application)
        return [folder / "values.yaml", folder / f"values-{environment}.yaml"]

    def examples(self, chart: str) -> dict[str, Path]:
        """Return a chart's examples of values: ``least`` has only the required ones, ``full`` all."""
        files = self.path(chart).glob("ci/*-values.yaml")
        return {file.stem.removesuffix("-values"): file for file in sorted(files)}

    def lint(self, chart: str, values: Sequence[Path]) -> None:
        """Check a chart.

        Raises
        ------
        HelmError
            Raised with all errors.
        """
        self._complete_dependencies(chart)
        self._run("lint", "--strict", "--quiet", str(self.path(chart)), *_files(values))

    def render(
        self, chart: str, values: Sequence[Path], settings: Sequence[str] = (), *, check_values: bool = True
    ) -> str:
        """Render a chart's manifests, for a release with the chart's name, as in Argo CD.

        Parameters
        ----------
        chart
            Such as ``applications/prompt-keda-hsc``.
        values
            Files of values; later files take precedence.
        settings
            Settings as for ``helm template --set``.
        check_values
            Whether to check values against their schema.

        Returns
        -------
        manifests
            YAML documents.

        Raises
        ------
        HelmError
            Raised if values or templates have errors.
        """
        self._complete_dependencies(chart)
        name = Path(chart).name
        words = [word for setting in settings for word in ("--set", setting)]
        if not check_values:
            words.append("--skip-schema-validation")
        return self._run(
            "template", name, str(self.path(chart)), "--namespace", name, *_files(values), *words
        )

    def _complete_dependencies(self, chart: str) -> None:
        if chart in self._complete:
            return
        if self._chart(chart).get("dependencies"):
            self._run("dependency", "update", "--skip-refresh", str(self.path(chart)))
        self._complete.add(chart)

    def _names(self, below: str) -> list[str]:
        files = (self._folder / below).glob("*/Chart.yaml")
        return sorted(str(file.parent.relative_to(self._folder)) for file in files)

    def _chart(self, chart: str) -> dict[str, object]:
        content: dict[str, object] = yaml.safe_load((self.path(chart) / "Chart.yaml").read_text())
        return content

    def _kind(self, chart: str) -> object:
        return self._chart(chart).get("type")

    def _run(self, *arguments: str) -> str:
        # The user's Helm configuration must not affect the result.
        state = self._folder / ".helm"
        done = subprocess.run(
            [self._helm, *arguments],
            env={
                "HELM_CACHE_HOME": str(state),
                "HELM_CONFIG_HOME": str(state),
                "HELM_DATA_HOME": str(state),
                "HOME": str(state),
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise HelmError((done.stderr + done.stdout).strip())
        return done.stdout


def _take_others_from(file: Path, others: Path | None) -> None:
    chart = yaml.safe_load(file.read_text(encoding="utf-8"))
    needed = chart.get("dependencies", [])
    if not any(is_of_others(one) for one in needed):
        return
    kept = []
    for one in needed:
        if not is_of_others(one):
            kept.append(one)
        elif others is not None:
            found = others.resolve() / one["name"]
            if not (found / "Chart.yaml").is_file():
                raise HelmError(f"{others} has no chart {one['name']}, which {chart['name']} needs")
            kept.append({**one, "repository": f"file://{found}"})
    file.write_text(yaml.safe_dump({**chart, "dependencies": kept}), encoding="utf-8")


def _files(values: Sequence[Path]) -> list[str]:
    return [word for file in values for word in ("--values", str(file))]

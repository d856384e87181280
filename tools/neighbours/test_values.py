"""Values files of Phalanx are converted for our charts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from checkouts import Neighbours

from prompt_processing.operators.site_values.convert import convert_files
from prompt_processing.settings.pipelines import parse_selection

APPLICATIONS = (
    "prompt-keda-hsc",
    "prompt-keda-latiss",
    "prompt-keda-lsstcam",
    "next-visit-fan-out",
    "butler-writer-service",
    "prompt-redis",
)


def files_of(folder: Path, site: Path) -> list[Path]:
    """Return the files in Helm's order: the application's, the site's."""
    return [folder / "values.yaml", site]


@pytest.mark.parametrize("application", APPLICATIONS)
def test_values_of_each_environment_convert(neighbours: Neighbours, application: str) -> None:
    folder = neighbours.path("phalanx", "applications", application)
    sites: list[Path] = sorted(folder.glob("values-*.yaml"))
    assert sites
    for site in sites:
        converted = convert_files(files_of(folder, site))
        assert converted.text.strip()
        unknown = {path: remark for path, remark in converted.remarks.items() if "Unknown" in remark}
        assert unknown == {}, site


@pytest.mark.parametrize("application", [name for name in APPLICATIONS if name.startswith("prompt-keda")])
def test_every_pipeline_that_a_site_selects_is_there(neighbours: Neighbours, application: str) -> None:
    folder = neighbours.path("phalanx", "applications", application)
    for site in sorted(folder.glob("values-*.yaml")):
        pipelines = yaml.safe_load(site.read_text())["prompt-keda"]["instrument"]["pipelines"]
        paths = [path for text in pipelines.values() for path in parse_selection(text).paths]
        assert paths
        assert [path for path in paths if not Path(path).is_file()] == [], site

"""Kernels of the hub can be told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompt_processing.hub import Hub
from prompt_processing.services.programs import Program
from prompt_processing.services.software import Software


class ProxyAlone(Software):
    """Software with a proxy, which is not started."""

    def configurable_http_proxy(self) -> Program:
        return Program(Path("configurable-http-proxy"))


@pytest.mark.parametrize("kernels", [[], ["floating"], ["floating", "prompt"]])
def test_kernel_of_the_hub_has_another_title_than_those_of_environments(
    tmp_path: Path, kernels: list[str]
) -> None:
    environments = tmp_path / "environments"
    environments.mkdir()
    for name in kernels:
        (environments / "share/jupyter/kernels" / name).mkdir(parents=True)
    hub = Hub(folder=tmp_path / "hub", environments=environments)
    hub.prepare(ProxyAlone())
    title = json.loads((hub.folder / "share/jupyter/kernels/python3/kernel.json").read_text())["display_name"]
    assert title.startswith("prompt")
    assert title not in kernels
    configuration = json.loads((hub.folder / "jupyterhub.json").read_text())
    paths = configuration["Spawner"]["environment"]["JUPYTER_PATH"].split(":")
    assert paths == [str(hub.folder / "share/jupyter"), str(environments / "share/jupyter")]

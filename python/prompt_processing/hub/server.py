"""JupyterHub as a process on this machine."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from prompt_processing.services.private import write_private
from prompt_processing.services.server import ServerCommand
from prompt_processing.services.service import HOST, Service, free_port, listens
from prompt_processing.services.software import Software

from .data import NightData

__all__ = ["Hub"]

_PREFIX = "/hub/"
_START_SECONDS = 300
_OPTIONS = (
    # Not needed here, and each takes seconds of the start.
    "--ServerApp.jpserver_extensions=panel.io.jupyter_server_extension=False",
    "--ServerApp.jpserver_extensions=jupyter_lsp=False",
)
_PAGE = {
    # An offer to rebuild extensions would cover the notebooks; the others ask the network.
    "buildAvailable": False,
    "buildCheck": False,
    "disabledExtensions": {
        "@jupyterlab/apputils-extension:announcements": True,
        "@jupyterlab/extensionmanager-extension": True,
    },
}
_NAMES = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"
"""Names become folders and parts of addresses."""


class Hub(Service):
    """JupyterHub below ``/hub/``; each person's server is a process of this machine's user.

    People are not protected from each other: for a laptop and for tests.

    Attributes
    ----------
    port
        Port of the proxy before the hub and all notebook servers, which the edge asks.
    hub_port, proxy_port
        Ports of the hub itself, and of the proxy's commands.
    data
        Data of the night that the notebooks find.
    environments
        Folder of environments that become kernels, beside the one that runs this.
    notebooks
        Folder of the tutorials.
    """

    name: ClassVar[str] = "hub"

    port: int = Field(default_factory=free_port)
    hub_port: int = Field(default_factory=free_port)
    proxy_port: int = Field(default_factory=free_port)
    data: NightData = NightData()
    environments: Path | None = None
    notebooks: Path | None = None

    @property
    def token(self) -> str:
        """What the edge adds to requests, once `prepare` has made it."""
        return self._token_file.read_text(encoding="utf-8")

    @property
    def _token_file(self) -> Path:
        return self.folder / "edge-token"

    def home(self, name: str) -> Path:
        """Return the home folder of a person."""
        return self.folder / "homes" / name

    def prepare(self, software: Software) -> None:
        """Write the configuration, the kernel of this environment and the edge's token."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._token_file.exists():
            write_private(self._token_file, secrets.token_hex(32))
        kernel = self._share / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True, exist_ok=True)
        # The name that the tutorials ask for.
        words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        others = self.environments is not None and (self._kernels_of(self.environments) / "prompt").exists()
        title = "prompt (this installation)" if others else "prompt"
        content = {"argv": words, "display_name": title, "language": "python"}
        kernel.write_text(json.dumps(content), encoding="utf-8")
        page = self._settings / "labconfig" / "page_config.json"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(json.dumps(_PAGE), encoding="utf-8")
        proxy = software.configurable_http_proxy()
        text = json.dumps(self._configuration(str(proxy.path)), indent=1)
        (self.folder / "jupyterhub.json").write_text(text, encoding="utf-8")

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the hub, which starts its proxy."""
        words = [sys.executable, "-m", "jupyterhub", "--config", "jupyterhub.json"]
        return ServerCommand(words, self.folder)

    def ready(self) -> bool:
        """Return whether hub and proxy respond."""
        return listens(self.port) and listens(self.hub_port)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"EDGE_HUB": self.address(), "EDGE_HUB_TOKEN": self.token}

    def address(self) -> str:
        """Return the address."""
        return f"{HOST}:{self.port}"

    @staticmethod
    def _kernels_of(environments: Path) -> Path:
        return environments.resolve() / "share" / "jupyter" / "kernels"

    @property
    def _share(self) -> Path:
        return self.folder / "share" / "jupyter"

    @property
    def _settings(self) -> Path:
        return self.folder / "settings"

    def _configuration(self, proxy: str) -> dict[str, Any]:
        kernels = [self._share]
        if self.environments is not None:
            kernels.append(self._kernels_of(self.environments).parent)
        variables = {
            **self.data.environment(),
            "JUPYTER_PATH": os.pathsep.join(map(str, kernels)),
            "JUPYTER_CONFIG_PATH": str(self._settings),
        }
        # As root, as in a container, the server asks for consent.
        as_root = hasattr(os, "geteuid") and os.geteuid() == 0
        return {
            "JupyterHub": {
                "authenticator_class": "prompt_processing.hub.login.EdgeAuthenticator",
                "spawner_class": "prompt_processing.hub.spawner.NightSpawner",
                "bind_url": f"http://{HOST}:{self.port}{_PREFIX}",
                "hub_bind_url": f"http://{HOST}:{self.hub_port}",
                "cleanup_servers": True,
                "shutdown_on_logout": False,
            },
            "Authenticator": {"allow_all": True, "username_pattern": _NAMES},
            "EdgeAuthenticator": {"token_file": str(self._token_file)},
            "ConfigurableHTTPProxy": {
                "command": [proxy],
                "api_url": f"http://{HOST}:{self.proxy_port}",
                "should_start": True,
            },
            "Spawner": {
                "cmd": [sys.executable, "-m", "jupyterhub.singleuser"],
                "args": [*_OPTIONS, *(["--allow-root"] if as_root else [])],
                "default_url": "/lab",
                "environment": variables,
                "start_timeout": _START_SECONDS,
                "http_timeout": _START_SECONDS,
            },
            "NightSpawner": {
                "home_dir_template": str(self.home("{username}")),
                "notebooks": "" if self.notebooks is None else str(self.notebooks.resolve()),
            },
        }

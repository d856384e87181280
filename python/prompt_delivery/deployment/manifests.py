"""Read from manifests which processes they start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Container", "containers", "read_manifests"]

Manifest = Mapping[str, Any]

_REFERENCE = re.compile(r"\$\(([A-Za-z_]\w*)\)")

_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "ScaledJob": ("spec", "jobTargetRef", "template"),
    "Service": ("spec", "template"),
}
"""Path of the pod template by kind; of the two kinds ``Service``, Knative's has pods."""


@dataclass(frozen=True)
class Container:
    """One container as the cluster would start it.

    Attributes
    ----------
    kind
        Kind of its object.
    specification
        The container.
    pod
        The pod's specification.
    annotations
        Annotations of the pod.
    """

    kind: str
    specification: Mapping[str, Any]
    pod: Mapping[str, Any]
    annotations: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        """Program and arguments."""
        return [*self.specification.get("command", ()), *self.specification.get("args", ())]

    @property
    def ports(self) -> dict[str, int]:
        """Ports by name."""
        return {port["name"]: port["containerPort"] for port in self.specification.get("ports", ())}

    @property
    def secret_keys(self) -> dict[str, tuple[str, str]]:
        """Name and key of the Secret for each variable."""
        return {
            entry["name"]: (
                entry["valueFrom"]["secretKeyRef"]["name"],
                entry["valueFrom"]["secretKeyRef"]["key"],
            )
            for entry in self.specification.get("env", ())
            if "valueFrom" in entry
        }

    @property
    def variables(self) -> set[str]:
        """Names of all environment variables that the manifest sets."""
        return {entry["name"] for entry in self.specification.get("env", ())}

    def environment(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that the cluster would set.

        Parameters
        ----------
        secrets
            Content of the Secret, by key.

        Raises
        ------
        KeyError
            Raised if the Secret lacks a key: the pod would not start.
        """
        references = self.secret_keys
        environment: dict[str, str] = {}
        for entry in self.specification.get("env", ()):
            name = entry["name"]
            text = secrets[references[name][1]] if name in references else str(entry.get("value", ""))
            environment[name] = text if name in references else _expand(text, environment)
        if self.kind == "Service":
            # Knative sets this variable to the port, and forbids manifests to set it.
            environment["PORT"] = str(next(iter(self.ports.values())))
        return environment

    def probe(self, name: str) -> tuple[int, str] | None:
        """Return port and path of an HTTP probe.

        Parameters
        ----------
        name
            Name of the probe.

        Returns
        -------
        probe
            `None` without such a probe, or if it does not use HTTP.
        """
        action = self.specification.get(name, {}).get("httpGet")
        if action is None:
            return None
        port = action["port"]
        return (port if isinstance(port, int) else self.ports[port]), action["path"]


def read_manifests(text: str) -> list[Manifest]:
    """Read YAML documents, without empty ones."""
    return [document for document in yaml.safe_load_all(text) if document]


def containers(manifests: Sequence[Manifest]) -> Iterator[Container]:
    """Yield the containers of all pods that manifests describe.

    Parameters
    ----------
    manifests
        Result of `read_manifests`.

    Yields
    ------
    container
        A container; a core Service has none.
    """
    for manifest in manifests:
        node: Any = manifest
        for key in _TEMPLATES.get(manifest["kind"], ("none",)):
            node = node.get(key) if isinstance(node, Mapping) else None
        if node is None:
            continue
        for container in node["spec"]["containers"]:
            annotations = node.get("metadata", {}).get("annotations", {})
            yield Container(manifest["kind"], container, node["spec"], annotations)


def _expand(text: str, environment: Mapping[str, str]) -> str:
    # As in Kubernetes: $(NAME) is replaced if it was set before, and left unchanged otherwise.
    return _REFERENCE.sub(lambda match: environment.get(match[1], match[0]), text)

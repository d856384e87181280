"""Manifests are read as a cluster reads them."""

from __future__ import annotations

import pytest

from prompt_delivery.deployment.manifests import containers, read_manifests

MANIFESTS = """
apiVersion: v1
kind: Service
spec: {ports: [{port: 80}]}
---
---
apiVersion: serving.knative.dev/v1
kind: Service
spec:
  template:
    metadata: {annotations: {revision: "1"}}
    spec:
      containers:
        - args: [prompt-activator, --check]
          command: [tini]
          env:
            - {name: BASE, value: a}
            - {name: DERIVED, value: "$(BASE)/$(NOBODY)"}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: token}}}
          ports: [{name: http1, containerPort: 8080}]
          startupProbe: {httpGet: {path: /health, port: 8000}}
          livenessProbe: {httpGet: {path: /live, port: http1}}
          readinessProbe: {exec: {command: [true]}}
"""


def test_container_is_what_the_cluster_would_start() -> None:
    (container,) = containers(read_manifests(MANIFESTS))
    assert container.command == ["tini", "prompt-activator", "--check"]
    assert container.annotations == {"revision": "1"}
    assert container.variables == {"BASE", "DERIVED", "TOKEN"}
    assert container.secret_keys == {"TOKEN": ("s", "token")}
    assert container.environment({"token": "$(BASE)"}) == {
        "BASE": "a",
        "DERIVED": "a/$(NOBODY)",
        "TOKEN": "$(BASE)",
        "PORT": "8080",
    }
    assert container.probe("startupProbe") == (8000, "/health")
    assert container.probe("livenessProbe") == (8080, "/live")
    assert container.probe("readinessProbe") is None


def test_absent_secret_is_noticed() -> None:
    (container,) = containers(read_manifests(MANIFESTS))
    with pytest.raises(KeyError, match="token"):
        container.environment({})

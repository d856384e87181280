"""Versions of the servers."""

from __future__ import annotations

import re
from importlib import resources
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict

__all__ = ["Versions", "version_numbers"]


class _Kafka(BaseModel):
    version: str
    minimum: str
    scala: str
    slf4j: str
    image: str


class _Apicurio(BaseModel):
    version: str
    java: int
    image: str


class _Image(BaseModel):
    version: str
    image: str


class _Package(BaseModel):
    minimum: str
    package: str
    image: str


class _Helm(BaseModel):
    version: str
    minimum: str


class _Caddy(BaseModel):
    version: str
    minimum: str
    image: str


class _Unversioned(BaseModel):
    package: str


class _Pinned(BaseModel):
    version: str


class Versions(BaseModel):
    """Content of ``versions.yaml``, the only place where versions are pinned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: _Kafka
    apicurio: _Apicurio
    cassandra: _Pinned
    versitygw: _Image
    postgresql: _Package
    redis: _Package
    helm: _Helm
    argo_cd: _Pinned
    prometheus: _Unversioned
    actionlint: _Pinned
    radix_operator: _Pinned
    caddy: _Caddy
    oauth2_proxy: _Image
    pebble: _Pinned
    sops: _Pinned
    age: _Pinned
    configurable_http_proxy: _Pinned
    chromium: _Unversioned
    maven_dependency_plugin: str

    @classmethod
    def load(cls) -> Self:
        """Read this package's file."""
        text = (resources.files(__package__) / "versions.yaml").read_text(encoding="utf-8")
        return cls.model_validate(yaml.safe_load(text))


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the first version in a text as numbers, such as (3, 9, 1); empty if there is none.

    Parameters
    ----------
    text
        A version, a file name, or the output of ``--version``.
    """
    match = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()

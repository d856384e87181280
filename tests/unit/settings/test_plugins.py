"""Packages of a process share one search for plugins."""

from __future__ import annotations

from importlib import metadata

import pytest

from prompt_processing.settings.plugins import search_plugins_once


def test_one_search_finds_what_each_search_would_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "all the same")
    groups = ("console_scripts", "networkx.backends", "no such group")
    expected = [sorted(metadata.entry_points(group=group)) for group in groups]
    everything = metadata.entry_points()
    searches: list[None] = []
    search = metadata.entry_points

    def counted() -> metadata.EntryPoints:
        searches.append(None)
        return search()

    monkeypatch.setattr(metadata, "entry_points", counted)
    search_plugins_once.__wrapped__()
    assert not searches
    assert [sorted(metadata.entry_points(group=group)) for group in groups] == expected
    assert [one.name for one in metadata.entry_points(group="console_scripts", name="prompt")] == ["prompt"]
    assert metadata.entry_points() == everything
    assert len(searches) == 1

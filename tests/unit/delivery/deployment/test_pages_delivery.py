"""How the pages reach their users: by promoted digests, on Radix, and from a developer's checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_services import required

from prompt_processing.services.checking_tools import CheckingTools

PROJECT = Path(__file__).parents[4]
DIGEST = "sha256:" + "a1" * 32

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def strict(schema: Any) -> Any:
    """Return a schema that refuses what it does not name: Radix ignores misspelt keys."""
    if isinstance(schema, dict):
        made = {name: strict(value) for name, value in schema.items()}
        return {"additionalProperties": False, **made} if isinstance(schema.get("properties"), dict) else made
    return [strict(one) for one in schema] if isinstance(schema, list) else schema


def radix_errors(configuration: Any) -> list[str]:
    schema = strict(json.loads(required("Radix's schema", CheckingTools().radix_schema).read_text("utf-8")))
    # Of metadata the schema names nothing.
    schema["properties"]["metadata"] = {"required": ["name"]}
    # It compiles grammars while it is imported, which each process of tests would do to collect them.
    import jsonschema

    return [one.message for one in jsonschema.Draft7Validator(schema).iter_errors(configuration)]


def test_radix_knows_every_key_of_its_configuration() -> None:
    configuration = yaml.safe_load((PROJECT / "radixconfig.yaml").read_text("utf-8"))
    assert radix_errors(configuration) == []
    images = {one["name"]: one["image"] for one in configuration["spec"]["components"]}
    for name, image in images.items():
        of_chart = yaml.safe_load((PROJECT / f"charts/prompt-{name}/values.yaml").read_text("utf-8"))["image"]
        assert image == of_chart["repository"] + ":{imageTagName}"
    configuration["spec"]["components"][0]["publcPort"] = "http"
    assert "publcPort" in " ".join(radix_errors(configuration))


def a_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an application in two environments, and programs that sign and look up all images."""
    root = tmp_path / "checkout"
    for name in ("applications/prompt-board", "charts/prompt-board", "bin"):
        (root / name).mkdir(parents=True)
    shutil.copy(PROJECT / "bin/promote", root / "bin/promote")
    shutil.copy(PROJECT / "charts/prompt-board/values.yaml", root / "charts/prompt-board/values.yaml")
    for stage, tag in (("dev", "latest"), ("prod", "0.1.0")):
        values = f'prompt-board:\n  image:\n    tag: "{tag}"\n    pullPolicy: Always\n'
        (root / f"applications/prompt-board/values-{stage}.yaml").write_text(values)
    a_program(tmp_path / "programs", "skopeo", f"echo {DIGEST}")
    a_program(tmp_path / "programs", "cosign", f'echo "$@" >> {tmp_path}/asked')
    return root


@pytest.fixture
def promote(checkout: Path) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{checkout.parent / 'programs'}:{os.environ['PATH']}"
        return subprocess.run(
            [checkout / "bin/promote", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path},
        )

    return run


def tag_in(checkout: Path, stage: str = "prod") -> str:
    values = yaml.safe_load((checkout / f"applications/prompt-board/values-{stage}.yaml").read_text())
    return str(values["prompt-board"]["image"]["tag"])


def test_production_gets_the_digest_of_development(checkout: Path, promote: Run) -> None:
    done = promote("prompt-board", "dev", "prod")
    assert done.returncode == 0, done.stderr
    assert tag_in(checkout) == f"latest@{DIGEST}"
    asked = (checkout.parent / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["verify", "verify-attestation"]
    assert all(line.endswith(f"ghcr.io/lsst-dm/prompt-board@{DIGEST}") for line in asked)
    assert all("--certificate-identity-regexp ^https://github.com/lsst-dm/" in line for line in asked)


@pytest.mark.parametrize("refused", ["verify", "verify-attestation"])
def test_image_without_signature_or_bill_stays_out(checkout: Path, promote: Run, refused: str) -> None:
    a_program(checkout.parent / "programs", "cosign", f'[ "$1" != {refused} ]')
    done = promote("prompt-board", "dev", "prod")
    assert done.returncode == 1
    assert DIGEST in done.stderr
    assert tag_in(checkout) == "0.1.0"


def test_rollback_takes_the_image_from_the_history(checkout: Path, promote: Run) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=checkout, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert "no other image" in promote("--back", "prompt-board", "prod").stderr
    assert promote("prompt-board", "dev", "prod").returncode == 0
    git("commit", "-q", "-a", "-m", "promote")
    assert promote("--back", "prompt-board", "prod").returncode == 0
    assert tag_in(checkout) == "0.1.0"


def test_code_reaches_the_running_pods(tmp_path: Path) -> None:
    source, target = tmp_path / "python", tmp_path / "target"
    (source / "prompt_processing/__pycache__").mkdir(parents=True)
    (source / "prompt_processing/new.py").write_text("x = 1\n")
    (source / "prompt_processing/__pycache__/new.pyc").write_text("")
    # Runs in the pod what follows the two dashes, here on this machine.
    a_program(
        tmp_path / "programs",
        "kubectl",
        'if [ "$1" = get ]; then echo "$@" >> asked; echo pod/one; exit; fi\n'
        'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    )
    environment = {**os.environ, "PATH": f"{tmp_path / 'programs'}:{os.environ['PATH']}"}
    command = [PROJECT / "sync_container.sh", "night", source, target]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert (target / "prompt_processing/new.py").read_text() == "x = 1\n"
    assert not (target / "prompt_processing/__pycache__").exists()
    assert "--namespace night" in (tmp_path / "asked").read_text()
    a_program(tmp_path / "programs", "kubectl", "true")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "no running pod" in done.stderr


def test_containers_of_a_laptop_run_commands_that_exist_without_rights() -> None:
    services = yaml.safe_load((PROJECT / "compose.pages.yaml").read_text("utf-8"))["services"]
    for name, service in services.items():
        assert service["image"].rpartition("/")[2].startswith(f"prompt-{name}:")
        assert service["command"][:2] == ["prompt", name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert services["board"]["ports"] == ["127.0.0.1:8000:8000"]

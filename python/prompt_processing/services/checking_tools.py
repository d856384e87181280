"""Find the tools that check charts and workflows, or install them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from .installation import MissingSoftwareError, go_module_files, go_program_from_sources, locked
from .installer import Installer
from .programs import Program, answer_of
from .versions import version_numbers

__all__ = ["CheckingTools"]


class CheckingTools(Installer):
    """Tools of a checkout: they check charts, manifests, alert rules and workflows."""

    def install(self) -> None:
        """Install missing tools.

        Raises
        ------
        MissingSoftwareError
            Raised if something cannot be installed.
        """
        self.helm()
        self.manifest_validator()
        self.resource_definitions()
        self.actionlint()
        self.radix_schema()

    def helm(self) -> Program:
        """Return Helm.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        helm = self.versions.helm
        found = shutil.which("helm")
        if found and _is_helm(found, helm.minimum):
            return Program(Path(found))
        return self._built("helm", "helm.sh/helm/v3/cmd/helm", helm.version)

    def manifest_validator(self) -> Program:
        """Return the program of ``tools/validate-manifests``, built from its current sources.

        Raises
        ------
        MissingSoftwareError
            Raised if it cannot be built.
        """
        sources = _validator_sources()
        digest = hashlib.sha256()
        for path in sorted((*sources.glob("*.go"), *sources.glob("go.*"))):
            digest.update(path.read_bytes())
        target = self.folder / f"validate-manifests-{digest.hexdigest()[:12]}" / "validate-manifests"
        with locked(self.folder):
            if not target.is_file():
                for old in self.folder.glob("validate-manifests-*"):
                    shutil.rmtree(old)
                go_program_from_sources(sources, target)
        return Program(target)

    def promtool(self) -> Program:
        """Return the program that evaluates alert rules.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        if found := shutil.which("promtool"):
            return Program(Path(found))
        return self._debian(self.versions.prometheus.package, "usr/bin/promtool")

    def actionlint(self) -> Program:
        """Return the program that checks workflows.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        return self._go_program(
            "actionlint", "github.com/rhysd/actionlint/cmd/actionlint", self.versions.actionlint.version
        )

    def resource_definitions(self) -> Path:
        """Return the folder of the resource definitions of Argo CD and KEDA.

        Raises
        ------
        MissingSoftwareError
            Raised if they are missing and cannot be fetched.
        """
        argo_cd = self.versions.argo_cd.version
        # The validator is built with types of the same version.
        keda = _required_module("github.com/kedacore/keda/v2")
        files = [
            ("github.com/argoproj/argo-cd/v3", argo_cd, "manifests/crds/app*-crd.yaml"),
            ("github.com/kedacore/keda/v2", keda, "config/crd/bases/keda.sh_scaledjobs.yaml"),
        ]
        return self._filled(
            f"definitions-argo-cd-{argo_cd}-keda-{keda}", lambda folder: go_module_files(files, folder)
        )

    def radix_schema(self) -> Path:
        """Return Radix's JSON schema of ``radixconfig.yaml``.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be fetched.
        """
        version = self.versions.radix_operator.version
        files = [("github.com/equinor/radix-operator", version, "json-schema/radixapplication.json")]
        folder = self._filled(f"radix-schema-{version}", lambda folder: go_module_files(files, folder))
        return folder / "radixapplication.json"


def _validator_sources() -> Path:
    return Path(__file__).resolve().parents[3] / "tools" / "validate-manifests"


def _required_module(module: str) -> str:
    for line in (_validator_sources() / "go.mod").read_text(encoding="utf-8").splitlines():
        if line.split()[:1] == [module]:
            return line.split()[1]
    raise MissingSoftwareError(f"{_validator_sources()}/go.mod does not name {module}.")


def _is_helm(program: str, minimum: str) -> bool:
    version, wanted = version_numbers(answer_of(program, "version", "--short")), version_numbers(minimum)
    # Argo CD renders with the same major version.
    return version[:1] == wanted[:1] and version >= wanted

"""Find the servers' programs on this machine, or install them into a private folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .installation import (
    MissingSoftwareError,
    debian_packages,
    go_module_files,
    go_program,
    go_program_from_sources,
    locked,
    maven_file,
    maven_libraries,
    npm_program,
)
from .programs import Program, answer_of, has_statistics, libraries_below, postgresql_folders
from .versions import Versions, version_numbers

__all__ = ["Software", "default_folder"]


def default_folder() -> Path:
    """Return the servers' folder: ``PROMPT_PROCESSING_SERVICES``, or the project's ``.services``."""
    named = os.environ.get("PROMPT_PROCESSING_SERVICES")
    if named:
        return Path(named).resolve()
    project = Path(__file__).resolve().parents[3]
    # An installed package has no project around this file.
    base = project if (project / "pyproject.toml").is_file() else Path.home() / ".cache" / "prompt-processing"
    return base / ".services"


class Software:
    """Find programs, or install them.

    Parameters
    ----------
    folder
        Folder for installed programs; `default_folder` by default.
    versions
        Versions to look for.
    """

    def __init__(self, folder: Path | None = None, versions: Versions | None = None) -> None:
        self.folder = folder or default_folder()
        self.versions = versions or Versions.load()

    def install(self) -> None:
        """Install missing programs of all servers.

        Raises
        ------
        MissingSoftwareError
            Raised if something cannot be installed.
        """
        self.kafka_libraries()
        self.apicurio()
        self.versitygw()
        self.postgresql()
        self.redis()

    def install_tools(self) -> None:
        """Install missing tools that check charts and workflows.

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

    def install_edge(self) -> None:
        """Install missing programs of the edge.

        Raises
        ------
        MissingSoftwareError
            Raised if something cannot be installed.
        """
        self.caddy()
        self.oauth2_proxy()
        self.pebble()

    def install_notebooks(self) -> None:
        """Install missing programs of the hub and of notebook images.

        Raises
        ------
        MissingSoftwareError
            Raised if something cannot be installed.
        """
        self.configurable_http_proxy()
        self.sops()
        self.age_keygen()

    def java(self) -> Program:
        """Return a Java program that can run the servers.

        Raises
        ------
        MissingSoftwareError
            Raised if no suitable Java is found.
        """
        home = os.environ.get("JAVA_HOME")
        wanted = self.versions.apicurio.java
        for candidate in (str(Path(home, "bin", "java")) if home else None, shutil.which("java")):
            if candidate and version_numbers(answer_of(candidate, "-version"))[:1] >= (wanted,):
                return Program(Path(candidate))
        raise MissingSoftwareError(
            f"No Java of version {wanted} or newer: install one (Debian: apt-get install "
            f"openjdk-{wanted}-jdk-headless; macOS: brew install openjdk@{wanted}) or set JAVA_HOME."
        )

    def kafka_libraries(self) -> Path:
        """Return the folder of Kafka's jars: from ``kafka-server-start.sh`` on the PATH, or installed here.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        kafka = self.versions.kafka
        if script := shutil.which("kafka-server-start.sh"):
            libraries = Path(script).resolve().parent.parent / "libs"
            for jar in libraries.glob("kafka_*.jar"):
                if version_numbers(jar.stem.partition("-")[2]) >= version_numbers(kafka.minimum):
                    return libraries
        return self._java_libraries(
            f"kafka-{kafka.version}",
            f"org.apache.kafka:kafka_{kafka.scala}:{kafka.version}",
            f"org.slf4j:slf4j-simple:{kafka.slf4j}",
        )

    def cassandra_libraries(self) -> Path:
        """Return the folder of Cassandra's jars.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        version = self.versions.cassandra.version
        return self._java_libraries(f"cassandra-{version}", f"org.apache.cassandra:cassandra-all:{version}")

    def apicurio(self) -> Path:
        """Return the schema registry's jar.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        version = self.versions.apicurio.version
        target = self.folder / f"apicurio-{version}"
        with locked(self.folder):
            if not target.is_dir():
                self.java()
                maven_file(
                    f"io.apicurio:apicurio-registry-app:{version}:zip:all",
                    target,
                    self.folder,
                    self.versions.maven_dependency_plugin,
                )
        return target / f"apicurio-registry-app-{version}-runner.jar"

    def versitygw(self) -> Program:
        """Return the S3 store.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        return self._go_program(
            "versitygw", "github.com/versity/versitygw/cmd/versitygw", self.versions.versitygw.version
        )

    def postgresql(self) -> Program:
        """Return ``postgres``; ``initdb`` and the other programs are beside it.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        wanted = version_numbers(self.versions.postgresql.minimum)
        for folder in postgresql_folders():
            program = folder / "postgres"
            complete = program.is_file() and (folder / "initdb").is_file() and has_statistics(folder)
            if complete and version_numbers(answer_of(str(program), "--version").partition(")")[2]) >= wanted:
                return Program(program)
        return self._debian(self.versions.postgresql.package, "usr/lib/postgresql/*/bin/postgres")

    def redis(self) -> Program:
        """Return ``redis-server``.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        wanted = version_numbers(self.versions.redis.minimum)
        for name in ("redis-server", "valkey-server"):
            found = shutil.which(name)
            if found and version_numbers(answer_of(found, "--version")) >= wanted:
                return Program(Path(found))
        return self._debian(self.versions.redis.package, "usr/bin/redis-server")

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

    def caddy(self) -> Program:
        """Return the web server of the edge.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        caddy = self.versions.caddy
        found = shutil.which("caddy")
        if found and version_numbers(answer_of(found, "version")) >= version_numbers(caddy.minimum):
            return Program(Path(found))
        return self._built("caddy", "github.com/caddyserver/caddy/v2/cmd/caddy", caddy.version)

    def oauth2_proxy(self) -> Program:
        """Return the program that logs people in at the edge.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        return self._go_program(
            "oauth2-proxy", "github.com/oauth2-proxy/oauth2-proxy/v7", self.versions.oauth2_proxy.version
        )

    def pebble(self) -> Program:
        """Return the certificate authority of tests, which speaks ACME.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        return self._go_program(
            "pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble", self.versions.pebble.version
        )

    def sops(self) -> Program:
        """Return the program that encrypts files of secrets.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        return self._go_program("sops", "github.com/getsops/sops/v3/cmd/sops", self.versions.sops.version)

    def age_keygen(self) -> Program:
        """Return the program that makes keys for secrets.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be built.
        """
        return self._go_program("age-keygen", "filippo.io/age/cmd/age-keygen", self.versions.age.version)

    def configurable_http_proxy(self) -> Program:
        """Return the proxy before JupyterHub and its notebook servers.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        name = "configurable-http-proxy"
        if found := shutil.which(name):
            return Program(Path(found))
        version = self.versions.configurable_http_proxy.version
        target = self.folder / f"{name}-{version}"
        with locked(self.folder):
            if not target.is_dir():
                npm_program(name, version, target)
        return Program(target / "node_modules" / ".bin" / name)

    def chromium(self) -> Program:
        """Return the browser of the tests of pages.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be installed.
        """
        for name in ("chromium", "chromium-browser", "google-chrome"):
            if found := shutil.which(name):
                return Program(Path(found))
        unpacked = self._debian(self.versions.chromium.package, "usr/lib/chromium/chromium")
        root = unpacked.path.parents[3]
        # Fonts that the machine does not have came with the browser.
        fonts = {"FONTCONFIG_SYSROOT": str(root)} if (root / "etc/fonts/fonts.conf").is_file() else {}
        return Program(unpacked.path, {**unpacked.environment, **fonts})

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
        target = self.folder / f"definitions-argo-cd-{argo_cd}-keda-{keda}"
        with locked(self.folder):
            if not target.is_dir():
                go_module_files(
                    [
                        ("github.com/argoproj/argo-cd/v3", argo_cd, "manifests/crds/app*-crd.yaml"),
                        ("github.com/kedacore/keda/v2", keda, "config/crd/bases/keda.sh_scaledjobs.yaml"),
                    ],
                    target,
                )
        return target

    def radix_schema(self) -> Path:
        """Return Radix's JSON schema of ``radixconfig.yaml``.

        Raises
        ------
        MissingSoftwareError
            Raised if it is missing and cannot be fetched.
        """
        version = self.versions.radix_operator.version
        target = self.folder / f"radix-schema-{version}"
        with locked(self.folder):
            if not target.is_dir():
                module = "github.com/equinor/radix-operator"
                go_module_files([(module, version, "json-schema/radixapplication.json")], target)
        return target / "radixapplication.json"

    def _go_program(self, name: str, package: str, version: str) -> Program:
        if found := shutil.which(name):
            return Program(Path(found))
        return self._built(name, package, version)

    def _built(self, name: str, package: str, version: str) -> Program:
        target = self.folder / f"{name}-{version}" / name
        with locked(self.folder):
            if not target.is_file():
                go_program(package, version, target)
        return Program(target)

    def _java_libraries(self, name: str, *artifacts: str) -> Path:
        """Return a folder of jars, with all that they need; it is filled when it does not exist."""
        target = self.folder / name
        with locked(self.folder):
            if not target.is_dir():
                self.java()
                maven_libraries(artifacts, target, self.folder, self.versions.maven_dependency_plugin)
        return target

    def _debian(self, package: str, pattern: str) -> Program:
        target = self.folder / f"debian-{package}"
        with locked(self.folder):
            if not target.is_dir():
                debian_packages(package, target)
        programs = sorted(target.glob(pattern))
        if not programs:
            raise MissingSoftwareError(
                f"The package {package} has no {pattern}: remove {target} and try again."
            )
        return Program(programs[-1], {"LD_LIBRARY_PATH": libraries_below(target)})


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

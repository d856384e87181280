"""Find the servers' programs on this machine, or install them into a private folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from .installation import maven_file, npm_program
from .installer import Installer
from .programs import Program, answer_of, has_statistics, postgresql_folders
from .versions import version_numbers

__all__ = ["Software"]


class Software(Installer):
    """Programs of servers, of the edge, of notebooks and of the pages' tests."""

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
        archive = f"io.apicurio:apicurio-registry-app:{version}:zip:all"

        def fill(target: Path) -> None:
            self.java()
            maven_file(archive, target, self.folder, self.versions.maven_dependency_plugin)

        return self._filled(f"apicurio-{version}", fill) / f"apicurio-registry-app-{version}-runner.jar"

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
        target = self._filled(f"{name}-{version}", lambda folder: npm_program(name, version, folder))
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

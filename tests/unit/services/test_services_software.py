"""Programs are found or installed, and what is missing is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from prompt_processing.services.checking_tools import CheckingTools
from prompt_processing.services.installation import MissingSoftwareError, go_program
from prompt_processing.services.installer import default_folder
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.software import Software
from prompt_processing.services.versions import Versions, version_numbers

ROOT = Path(__file__).parents[3]


def fake_program(path: Path, answer: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{answer}'\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def software(tmp_path: Path) -> Software:
    return Software(tmp_path / "services")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3.9.1", (3, 9, 1)), ("Redis server v=7.0.15 sha=0", (7, 0, 15)), ("v1.8.0", (1, 8, 0)), ("none", ())],
)
def test_first_version_of_a_text_is_read(text: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(text) == numbers


def test_new_enough_program_of_the_path_is_used(tmp_path: Path, on_path: Path) -> None:
    program = fake_program(on_path / "redis-server", "Redis server v=7.2.4")
    assert software(tmp_path).redis().path == program


def test_helm_of_the_path_is_used_if_argo_cd_has_the_same_major_version(
    tmp_path: Path, on_path: Path
) -> None:
    program = fake_program(on_path / "helm", "v3.18.1+gabc")
    assert CheckingTools(tmp_path / "services").helm().path == program
    for answer in ("v3.2.0+gabc", "v4.0.1+gabc"):
        fake_program(on_path / "helm", answer)
        with pytest.raises(MissingSoftwareError, match="helm is not on the PATH"):
            CheckingTools(tmp_path / "services").helm()


def test_validator_is_built_again_when_its_sources_change(tmp_path: Path, on_path: Path) -> None:
    fake_program(on_path / "go", "").write_text(
        "#!/bin/sh\nwhile [ $# -gt 1 ]; do if [ $1 = -o ]; then echo made > $2; fi; shift; done\n"
    )
    old = tmp_path / "services" / "validate-manifests-0123" / "validate-manifests"
    old.parent.mkdir(parents=True)
    made = CheckingTools(tmp_path / "services").manifest_validator().path
    assert made.read_text() == "made\n"
    assert not old.parent.exists()
    (on_path / "go").unlink()
    assert CheckingTools(tmp_path / "services").manifest_validator().path == made


def test_resource_definitions_come_from_the_modules_of_their_programs(tmp_path: Path, on_path: Path) -> None:
    module = tmp_path / "module"
    for file in ("manifests/crds/application-crd.yaml", "config/crd/bases/keda.sh_scaledjobs.yaml"):
        (module / file).parent.mkdir(parents=True)
        (module / file).write_text("{}")
    fake_program(on_path / "go", f'{{"Dir": "{module}"}}')
    folder = CheckingTools(tmp_path / "services").resource_definitions()
    assert sorted(file.name for file in folder.iterdir()) == [
        "application-crd.yaml",
        "keda.sh_scaledjobs.yaml",
    ]
    (on_path / "go").unlink()
    assert CheckingTools(tmp_path / "services").resource_definitions() == folder


@pytest.mark.parametrize("answer", ["Redis server v=6.2.1", "nonsense"])
def test_too_old_program_is_passed_over_and_the_message_says_what_to_install(
    tmp_path: Path, on_path: Path, answer: str
) -> None:
    fake_program(on_path / "redis-server", answer)
    with pytest.raises(MissingSoftwareError, match="redis-server"):
        software(tmp_path).redis()


def test_java_of_java_home_comes_first(
    tmp_path: Path, on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(on_path / "java", 'openjdk version "21.0.1"')
    home = fake_program(tmp_path / "jdk" / "bin" / "java", 'openjdk version "17.0.9"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert software(tmp_path).java().path == home


def test_old_java_is_refused_with_advice(tmp_path: Path, on_path: Path) -> None:
    fake_program(on_path / "java", 'openjdk version "11.0.2"')
    with pytest.raises(MissingSoftwareError, match="openjdk-17"):
        software(tmp_path).java()


def test_kafka_of_the_path_is_used_if_new_enough(tmp_path: Path, on_path: Path) -> None:
    script = fake_program(tmp_path / "kafka" / "bin" / "kafka-server-start.sh", "")
    (on_path / script.name).symlink_to(script)
    (tmp_path / "kafka" / "libs").mkdir()
    (tmp_path / "kafka" / "libs" / "kafka_2.13-4.0.0.jar").touch()
    assert software(tmp_path).kafka_libraries() == tmp_path / "kafka" / "libs"


def test_missing_builder_is_named(tmp_path: Path, on_path: Path) -> None:
    with pytest.raises(MissingSoftwareError, match=r"go\.dev"):
        go_program("example.org/versitygw", "v1", tmp_path / "versitygw")


def test_failed_installation_leaves_nothing_that_looks_installed(tmp_path: Path, on_path: Path) -> None:
    fake_program(on_path / "go", "no such module", status=1)
    target = tmp_path / "folder" / "versitygw"
    with pytest.raises(MissingSoftwareError, match="no such module"):
        go_program("example.org/versitygw", "v1", target)
    assert not target.exists()


def test_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_PROCESSING_SERVICES", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("PROMPT_PROCESSING_SERVICES")
    assert default_folder() == ROOT / ".services"


def test_compose_describes_the_same_versions() -> None:
    versions = Versions.load()
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {name: services[name]["image"] for name in services} == {
        "kafka": versions.kafka.image,
        "schema-registry": versions.apicurio.image,
        "object-store": versions.versitygw.image,
        "postgresql": versions.postgresql.image,
        "redis": versions.redis.image,
    }
    assert versions.kafka.version in versions.kafka.image
    assert versions.apicurio.version in versions.apicurio.image
    assert versions.versitygw.version in versions.versitygw.image


def test_credentials_are_not_shown(tmp_path: Path) -> None:
    kafka, database = Kafka(folder=tmp_path), PostgreSql(folder=tmp_path)
    assert kafka.password not in repr(kafka) + str(kafka) + kafka.address() + repr(kafka.sasl)
    assert database.password not in repr(database) + database.address() + database.url

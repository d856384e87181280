"""Applications fit each other, Argo CD, Vault and the playbook."""

from __future__ import annotations

import re

import pytest
import yaml
from chart_fixtures import PROJECT, EverySecret, applications, only, references

from prompt_delivery.deployment.chart_values import read_values
from prompt_delivery.deployment.cli import main
from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import containers, read_manifests

pytestmark = pytest.mark.services

KNATIVE, KEDA = "charts/prompt-proto-service", "charts/prompt-keda"


def test_secrets_that_are_used_are_those_that_are_described(rendered: dict[tuple[str, str], str]) -> None:
    used: dict[str, set[str]] = {}
    for name, _, manifests in applications(rendered):
        for container in containers(read_manifests(manifests)):
            for secret, key in container.secret_keys.values():
                assert secret == name
                used.setdefault(name, set()).add(key)
    for file in PROJECT.glob("applications/*/values*.yaml"):
        # Values of a chart of another project, which is not rendered here.
        for secret, key in references(yaml.safe_load(file.read_text())):
            assert secret == file.parent.name
            used.setdefault(secret, set()).add(key)
    for folder in sorted((PROJECT / "applications").iterdir()):
        described = yaml.safe_load((folder / "secrets.yaml").read_text())
        assert used.get(folder.name, set()) <= described.keys(), folder.name
        always = {key for key, about in described.items() if "if" not in about}
        assert always <= used.get(folder.name, set()), folder.name
        for about in described.values():
            assert about["description"]


def test_conditions_of_secrets_name_values_of_the_charts() -> None:
    for file in sorted(PROJECT.glob("applications/*/secrets.yaml")):
        for about in yaml.safe_load(file.read_text()).values():
            if "if" in about:
                chart, _, value = about["if"].partition(".")
                known = {one.name for one in read_values(PROJECT / "charts" / chart / "values.yaml")}
                assert value in known, file


def test_secret_comes_from_vault_where_there_is_one(chart_tree: ChartTree) -> None:
    application = "applications/prompt-proto-service-lsstcam"
    values = chart_tree.values(application, "usdfdev-prompt-processing")
    manifests = read_manifests(
        chart_tree.render(application, values, ["global.vaultSecretsPath=secret/here"])
    )
    assert only(manifests, "VaultSecret")["spec"]["path"] == "secret/here/prompt-proto-service-lsstcam"
    assert "VaultSecret" not in chart_tree.render(application, values)


def test_development_release_can_be_looked_at(
    chart_tree: ChartTree, capsys: pytest.CaptureFixture[str]
) -> None:
    del chart_tree
    application = ("prompt-proto-service-lsstcam", "usdfdev-prompt-processing")
    release = ("--set", "prompt-proto-service.image.tag=my-branch")
    assert main(["--project", str(PROJECT), "render", *application, *release]) == 0
    images = set(re.findall(r"image: *(.*)", capsys.readouterr().out))
    assert images == {'"ghcr.io/lsst-dm/prompt-service:my-branch"'}
    wrong = ("--set", "prompt-proto-service.knative.maxScale=many")
    assert main(["--project", str(PROJECT), "render", *application, *wrong]) == 1
    assert "/knative/maxScale" in capsys.readouterr().err


def test_argo_cd_knows_each_application_and_its_values(rendered: dict[tuple[str, str], str]) -> None:
    known = {(name, environment) for name, environment, _ in applications(rendered)}
    deployed = set()
    for (chart, environment), text in rendered.items():
        if chart != "argocd":
            continue
        allowed = {
            (entry["group"], entry["kind"])
            for entry in only(read_manifests(text), "AppProject")["spec"]["namespaceResourceWhitelist"]
        }
        for manifest in read_manifests(text):
            if manifest["kind"] != "Application":
                continue
            name = manifest["metadata"]["name"]
            source = manifest["spec"]["source"]
            assert source["path"] == f"applications/{name}"
            assert source["helm"]["valueFiles"] == ["values.yaml", f"values-{environment}.yaml"]
            assert manifest["spec"]["destination"]["namespace"] == name
            assert "automated" not in manifest["spec"]["syncPolicy"]
            deployed.add((name, environment))
            for one in read_manifests(rendered[f"applications/{name}", environment]):
                group = one["apiVersion"].rpartition("/")[0]
                assert (group, one["kind"]) in allowed, name
    assert deployed <= known
    assert {name for name, _ in deployed} == {name for name, _ in known}


def test_pods_may_connect_to_what_their_settings_name(rendered: dict[tuple[str, str], str]) -> None:
    standard = {"http": 80, "https": 443}
    n_checked = 0
    for name, environment, text in applications(rendered):
        manifests = read_manifests(text)
        policies = {one["metadata"]["name"]: one for one in manifests if one["kind"] == "NetworkPolicy"}
        for container in containers(manifests):
            own = "init" if container.kind in ("CronJob", "Job") else ""
            own = "streams" if container.command[:2] == ["prompt", "streams"] else own
            policy = policies[f"{name}-{own}" if own else name]
            # A rule without ports is for pods of the same application, which no setting names by an address.
            allowed = {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", ())}
            for variable, value in container.environment(EverySecret()).items():
                urls = re.findall(r"^(https?)://([\w.-]+)(?::(\d+))?", value)
                needed = {int(port or standard[scheme]) for scheme, _, port in urls}
                hosts = [host for _, host, port in urls]
                for host, port in re.findall(r"(?:^|,)([a-z][\w.-]*):(\d+)(?=$|,)", value):
                    needed.add(int(port))
                    hosts.append(host)
                assert needed <= allowed, f"{name} in {environment}: {variable}"
                n_checked += len(needed)
                for host in set(hosts) - {name}:
                    neighbour = f"applications/{host.partition('.')[0]}"
                    if neighbour in {"applications/prompt-redis", "applications/prompt-raw-microservice"}:
                        assert f'"{name}"' in rendered[neighbour, environment], (
                            f"{neighbour} is closed to {name}"
                        )
    assert n_checked > 100


def test_commands_of_the_playbook_name_what_there_is(
    chart_tree: ChartTree, rendered: dict[tuple[str, str], str]
) -> None:
    page = (PROJECT / "doc/playbook/deployment.md").read_text()
    shown = re.findall(r"^    bin/charts render (\S+) (\S+)", page, flags=re.MULTILINE)
    assert len(shown) == 3
    for name, environment in shown:
        assert (name if name == "argocd" else f"applications/{name}", environment) in rendered
    objects = {
        f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"
        for _, _, text in applications(rendered)
        for manifest in read_manifests(text)
    }
    (job,) = re.findall(r"--from=(cronjob/\S+)", page)
    assert job.replace("$application", "prompt-proto-service-lsstcam") in objects
    assert "service/prompt-proto-service-lsstcam" in objects
    settings = re.findall(r"--set(?:-string)? prompt-proto-service\.(\S+)=", page)
    known = {value.name for value in read_values(PROJECT / KNATIVE / "values.yaml")}
    assert settings
    assert set(settings) <= known
    keda = {value.name for value in read_values(PROJECT / KEDA / "values.yaml")}
    named = set(re.findall(r"`((?:knative|keda|redis|worker|workspace|image)\.\w+)`", page))
    assert named <= known | keda

"""Values for Zero to JupyterHub's chart fit each other, our chart and the code."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_fixtures import PROJECT, only, references

from prompt_delivery.deployment.chart_values import read_values
from prompt_delivery.deployment.documents import values_schema
from prompt_delivery.deployment.helm import ChartTree, HelmError
from prompt_delivery.deployment.manifests import read_manifests
from prompt_processing.hub.login import EdgeAuthenticator
from prompt_processing.services.checking_tools import CheckingTools

pytestmark = pytest.mark.services

APPLICATION = PROJECT / "applications/prompt-hub"
ENVIRONMENTS = sorted(file.stem.removeprefix("values-") for file in APPLICATION.glob("values-*.yaml"))
MADE_BY_JUPYTERHUB = {
    ("", "ConfigMap"),
    ("", "PersistentVolumeClaim"),
    ("", "Secret"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
}
"""Kinds that version 4.4.0 of its chart renders to with our values."""


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does."""
    both = dict(one)
    for key, value in other.items():
        mappings = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if mappings else value
    return both


def values_of(environment: str) -> dict[str, Any]:
    files = ("values.yaml", f"values-{environment}.yaml")
    common, own = (yaml.safe_load((APPLICATION / name).read_text()) for name in files)
    return merged(common, own)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environments_have_values_that_are_documented(environment: str) -> None:
    documented = [
        value for value in read_values(APPLICATION / "values.yaml") if value.path[0] == "jupyterhub"
    ]
    assert [value.name for value in documented if not value.description] == []
    # Here no other key is accepted: those of its chart that we do not set are unknown.
    # It compiles grammars while it is imported, which each process of tests would do to collect them.
    import jsonschema

    schema = jsonschema.Draft202012Validator(values_schema(documented))
    values = values_of(environment)["jupyterhub"]
    assert list(schema.iter_errors({"jupyterhub": values})) == []
    wrong = merged(values, {"cull": {"timout": 3600}})
    assert "timout" in str(list(schema.iter_errors({"jupyterhub": wrong})))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_both_charts_agree(rendered: dict[tuple[str, str], str], environment: str) -> None:
    manifests = read_manifests(rendered["applications/prompt-hub", environment])
    values = values_of(environment)
    hub = values["jupyterhub"]["hub"]
    ingress = only(manifests, "GafaelfawrIngress")
    (rule,) = ingress["template"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert hub["baseUrl"] == path["path"] + "/"
    assert path["backend"]["service"] == {"name": "proxy-public", "port": {"name": "http"}}
    # The hub asks the Gafaelfawr whose ingress sends people to it, with a token that this one requests.
    address = hub["config"]["GafaelfawrAuthenticator"]["user_info_url"]
    assert address == f"https://{rule['host']}/auth/api/v1/user-info"
    assert "internal" in ingress["config"]["delegate"]
    volumes = {one["name"]: one for one in hub["extraVolumes"]}
    login = only(manifests, "ConfigMap")
    assert volumes["login"]["configMap"]["name"] == login["metadata"]["name"]
    mounts = {one["name"]: one["mountPath"] for one in hub["extraVolumeMounts"]}
    assert mounts.keys() == volumes.keys()
    assert hub["extraEnv"]["PYTHONPATH"] == mounts["login"]
    module, _, name = hub["config"]["JupyterHub"]["authenticator_class"].partition(".")
    loaded = types.ModuleType(module)
    exec(login["data"][f"{module}.py"], loaded.__dict__)
    accepted = getattr(loaded, name)
    assert EdgeAuthenticator.__name__ in {one.__name__ for one in accepted.__mro__}
    for section, traits in hub["config"].items():
        if section.endswith("Authenticator") and section != "Authenticator":
            assert traits.keys() <= set(getattr(loaded, section).class_trait_names()), section


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_notebooks_have_the_nights_data_and_read_only_credentials(environment: str) -> None:
    values = values_of(environment)["jupyterhub"]["singleuser"]["extraEnv"]
    assert {"CENTRAL_REPO", "NIGHTS_DATABASE", "CONFIG_APDB"} <= values.keys()
    described = yaml.safe_load((APPLICATION / "secrets.yaml").read_text())
    for name, key in references(values):
        assert name == "prompt-hub"
        # The secret key refers to its access key.
        assert re.search("can only read|`s3_access_key`", described[key]["description"])
    for value in values.values():
        if isinstance(value, str):
            assert not re.search(r"://[^/@]*:[^/@]*@", value), "a password"
    assert values["PGUSER"] == "prompt_reader"


def test_menu_offers_the_recommended_image_the_weekly_and_those_of_nights() -> None:
    values = yaml.safe_load((APPLICATION / "values.yaml").read_text())["jupyterhub"]["singleuser"]
    (profile,) = values["profileList"]
    options = profile["profile_options"]
    for option in options.values():
        assert [choice.get("default", False) for choice in option["choices"].values()].count(True) == 1
    image = f"{values['image']['name']}:{values['image']['tag']}"
    images = {
        name: choice["kubespawner_override"]["image"] for name, choice in options["image"]["choices"].items()
    }
    assert images["recommended"] == image
    assert images.keys() == {"recommended", "weekly"}
    night = options["image"]["unlisted_choice"]
    assert re.match(night["validation_regex"], "2026-05-31")
    for wrong in ("2026-5-31", "evil.example.org/image:1", "2026-05-31@sha256:0", "2026-05-31 "):
        assert not re.match(night["validation_regex"], wrong)
    tags = {one.rpartition(":")[2] for one in (*images.values(), night["kubespawner_override"]["image"])}
    assert tags == {"recommended", "weekly", "night-{value}"}
    # The same tags as in the description of the images.
    template = (PROJECT / "notebook-images/setup-env.template").read_text()
    assert all(tag.partition("{")[0] in template for tag in tags)
    for choice in options["size"]["choices"].values():
        size = choice["kubespawner_override"]
        assert size["cpu_guarantee"] <= size["cpu_limit"]
        assert int(size["mem_guarantee"][:-1]) <= int(size["mem_limit"][:-1])
        assert f"{size['cpu_limit']} CPU" in choice["display_name"]
        assert f"{size['mem_limit'][:-1]} GiB" in choice["display_name"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_idle_servers_stop_home_folders_stay_and_nodes_have_the_images(environment: str) -> None:
    values = values_of(environment)["jupyterhub"]
    assert values["cull"]["enabled"]
    assert values["cull"]["every"] < values["cull"]["timeout"] < values["cull"]["maxAge"]
    # Volumes outlive servers: those that are claimed for a name, which is the default.
    assert values["singleuser"]["storage"]["homeMountPath"] == "/home/jovyan"
    assert values["singleuser"]["storage"].get("type", "dynamic") == "dynamic"
    assert values["prePuller"]["continuous"]["enabled"]
    # The continuous puller looks at the menu, whose tags move.
    assert values["singleuser"]["image"]["pullPolicy"] == "Always"


def test_argo_cd_may_make_what_jupyterhub_needs_and_keeps_what_it_draws(
    rendered: dict[tuple[str, str], str],
) -> None:
    manifests = read_manifests(rendered["argocd", ENVIRONMENTS[0]])
    allowed = only(manifests, "AppProject")["spec"]["namespaceResourceWhitelist"]
    assert {(one["group"], one["kind"]) for one in allowed} >= MADE_BY_JUPYTERHUB
    for one in manifests:
        if one["kind"] == "Application":
            hub = one["metadata"]["name"] == "prompt-hub"
            assert ("RespectIgnoreDifferences=true" in one["spec"]["syncPolicy"]["syncOptions"]) is hub
            assert ("ignoreDifferences" in one["spec"]) is hub


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("jupyterhub.cull.timeout=5", "/jupyterhub/cull/timeout"),
        ("jupyterhub.singleuser.storage.capacity=big", "/jupyterhub/singleuser/storage/capacity"),
        ("jupyterhub.singleuser.profileList[0].display=Mine", "/jupyterhub/singleuser/profileList/0"),
        ("jupyterhub.hub.config.JupyterHub.authenticator_class=dummy", "authenticator_class"),
        ("prompt-hub.prefix=hub", "/prefix"),
    ],
)
def test_wrong_value_is_refused_by_name(chart_tree: ChartTree, setting: str, place: str) -> None:
    name = "applications/prompt-hub"
    with pytest.raises(HelmError, match=re.escape(place)):
        chart_tree.render(name, chart_tree.values(name, ENVIRONMENTS[0]), [setting])


def test_chart_of_others_is_rendered_where_it_is_available(
    chart_software: CheckingTools, tmp_path: Path
) -> None:
    # A stand-in for Zero to JupyterHub's chart, with a default of its own that our schema does not know.
    (version,) = (
        one["version"]
        for one in yaml.safe_load((APPLICATION / "Chart.yaml").read_text())["dependencies"]
        if one["name"] == "jupyterhub"
    )
    other = tmp_path / "others" / "jupyterhub"
    (other / "templates").mkdir(parents=True)
    chart = {"apiVersion": "v2", "name": "jupyterhub", "version": version}
    (other / "Chart.yaml").write_text(json.dumps(chart))
    (other / "values.yaml").write_text("{cull: {users: false}, debug: {enabled: false}}")
    (other / "templates" / "menu.yaml").write_text(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: menu}, "
        "data: {menu: {{ .Values.singleuser.profileList | toJson | quote }}}}"
    )
    name = "applications/prompt-hub"
    tree = ChartTree(PROJECT, tmp_path / "tree", chart_software, tmp_path / "others")
    manifests = read_manifests(tree.render(name, tree.values(name, ENVIRONMENTS[0])))
    (menu,) = (one for one in manifests if one["metadata"]["name"] == "menu")
    expected = values_of(ENVIRONMENTS[0])["jupyterhub"]["singleuser"]["profileList"]
    assert json.loads(menu["data"]["menu"]) == expected
    with pytest.raises(HelmError, match="no chart jupyterhub, which prompt-hub needs"):
        ChartTree(PROJECT, tmp_path / "again", chart_software, tmp_path)

"""What `pip install prompt-processing` brings is complete, away from any checkout."""

import json
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from installed_wheel import PROJECT, InstalledWheel, build_distributions, names_in

pytestmark = pytest.mark.integration

PACKAGE = PROJECT / "python" / "prompt_processing"
IMPORT_ALL = """
import importlib, json, pkgutil, prompt_processing
failed = {}
path = prompt_processing.__path__
for module in pkgutil.walk_packages(path, "prompt_processing.", onerror=lambda name: None):
    if module.name.endswith(("__main__", ".gunicorn_conf")):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        failed[module.name] = error.name
print(json.dumps(failed))
"""
IMPORT_EXTRA = """
import importlib, sys
from importlib import metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
owners = metadata.packages_distributions()
for asked in map(Requirement, metadata.requires("prompt-processing")):
    if asked.marker and asked.marker.evaluate({"extra": sys.argv[1]}):
        asked_name = canonicalize_name(asked.name)
        modules = [module for module, names in owners.items() if asked_name in map(canonicalize_name, names)]
        assert modules, f"{asked.name} is not installed"
        print(*[importlib.import_module(module).__name__ for module in modules])
"""
_PROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
PAGES = {"bokeh", "dash", "jupyterhub", "panel", "tornado", "traitlets"}
EXTRAS = sorted(set(_PROJECT["optional-dependencies"]) - {"dev"})


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build_distributions(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, distributions: tuple[Path, Path]
) -> Callable[..., InstalledWheel]:
    made: dict[tuple[str, ...], InstalledWheel] = {}

    def install(*extras: str) -> InstalledWheel:
        if extras not in made:
            folder = tmp_path_factory.mktemp("installed") / "x"
            made[extras] = InstalledWheel(folder, distributions[0], extras, install() if extras else None)
        return made[extras]

    return install


def test_wheel_has_every_file_of_the_package_and_nothing_else(distributions: tuple[Path, Path]) -> None:
    files = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in names_in(distributions[0]) if ".dist-info/" not in name}
    assert packed == files


def test_sdist_has_the_sources_and_their_tests(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "requirements.lock", "PKG-INFO"} <= names
    assert "python/prompt_processing/pipelines/LSSTCam/ApPipe.yaml" in names


def test_wheel_knows_its_version(
    installed: Callable[..., InstalledWheel], distributions: tuple[Path, Path]
) -> None:
    version = distributions[0].name.split("-")[1]
    done = installed().run("prompt", "--version")
    assert done.stdout.split() == ["prompt", version]


def test_modules_that_need_an_extra_are_those_of_demo_and_pages(
    installed: Callable[..., InstalledWheel],
) -> None:
    failed: dict[str, str] = json.loads(installed().run("python", "-c", IMPORT_ALL).stdout)
    assert set(failed.values()) <= {"galsim", "matplotlib", "moto", *PAGES}
    rooms = {name.split(".")[1] for name in failed if name != "prompt_processing.difference.picture"}
    # Figures of visits, pictures of a camera's frames, and the simulated sky map of a repository without one.
    assert rooms <= {"simulation", "demo", "commissioning", "tasks", "board", "navigator", "hub"}
    assert all(".plots." in name for name in failed if name.split(".")[1] == "tasks")


def test_extras_demo_hub_and_pages_bring_what_all_modules_import(
    installed: Callable[..., InstalledWheel],
) -> None:
    done = installed("demo", "hub", "pages").run("python", "-c", IMPORT_ALL)
    assert json.loads(done.stdout) == {}, done.stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_can_be_imported(extra: str, installed: Callable[..., InstalledWheel]) -> None:
    done = installed(extra).run("python", "-c", IMPORT_EXTRA, extra)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()


def test_demo_without_its_extra_says_so_in_one_sentence(installed: Callable[..., InstalledWheel]) -> None:
    done = installed().run("prompt", "demo", "--visits", "1")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("pip install 'prompt-processing[demo]'")
    assert "Traceback" not in done.stderr


def test_two_images_are_differenced(installed: Callable[..., InstalledWheel], tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:300, :300]
    places = rng.uniform(12, 288, (80, 2))
    fluxes = rng.uniform(2e4, 2e5, 80)
    for name, sigma, new in (("old", 1.6, 0.0), ("new", 2.0, 4e4)):
        image = np.full((300, 300), 200.0)
        for (row, column), flux in zip([*places, (150.3, 151.2)], [*fluxes, new], strict=True):
            radius2 = (y - row) ** 2 + (x - column) ** 2
            image += flux / (2 * np.pi * sigma**2) * np.exp(-radius2 / (2 * sigma**2))
        image = rng.poisson(image).astype(np.float32)
        fits.PrimaryHDU(image, fits.Header({"GAIN": 1.0})).writeto(tmp_path / f"{name}.fits")
    images = [str(tmp_path / f"{name}.fits") for name in ("new", "old")]
    wheel = installed()
    wheel.take_compiled()
    done = wheel.run("prompt", "difference", *images, "--no-align", "--quiet", "-o", str(tmp_path / "d.fits"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d.fits").exists()


@pytest.mark.parametrize("driver", ["http", "stream"])
def test_worker_starts_and_names_what_it_lacks(driver: str, installed: Callable[..., InstalledWheel]) -> None:
    done = installed().run("prompt", "worker", driver)
    assert done.returncode == 3, done.stderr
    assert "RUBIN_INSTRUMENT" in done.stderr


def test_a_night_is_processed(installed: Callable[..., InstalledWheel]) -> None:
    wheel = installed("demo")
    wheel.take_compiled()
    done = wheel.run(
        "prompt", "demo", "--visits", "1", "--miniature", "128x256", "--exposure", "1", "--output", "out",
        timeout_s=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # No process took a module from the checkout.
    logs = "".join(path.read_text(errors="replace") for path in (wheel.home / "out").rglob("*.log"))
    assert str(wheel.site) in logs
    assert str(PACKAGE) not in logs

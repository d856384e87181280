"""Downloaded catalogues become shards of a repository."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from click.testing import CliRunner
from lsst.daf.butler import Butler

from prompt_processing.butler.types import use_butler_types
from prompt_processing.cli.refcat.import_ import main
from prompt_processing.repository.catalogues.errors import CatalogueError
from prompt_processing.repository.catalogues.layouts import recognised
from prompt_processing.repository.catalogues.reading import read_table
from prompt_processing.repository.catalogues.standard import StandardCatalogue, standardise
from prompt_processing.repository.central import create_repository

N = 40
RNG = np.random.default_rng(4)
RA = 83.8 + RNG.uniform(-0.2, 0.2, N)
DEC = -5.4 + RNG.uniform(-0.2, 0.2, N)
MAG = RNG.uniform(15.0, 19.0, N)


def gaia() -> Table:
    return Table(
        {
            "solution_id": np.full(N, 1636148068921376768),
            "source_id": 3017360348171372672 + np.arange(N),
            "ref_epoch": np.full(N, 2016.0),
            "ra": RA,
            "dec": DEC,
            "parallax": np.full(N, 2.5),
            "pmra": np.full(N, 30.0),
            "pmdec": np.full(N, -20.0),
            "phot_g_mean_flux_over_error": np.full(N, 500.0),
            "phot_g_mean_mag": MAG,
            "phot_bp_mean_mag": MAG + 0.4,
            "phot_rp_mean_mag": MAG - 0.6,
        }
    )


def panstarrs() -> Table:
    return Table(
        {
            "objID": 101280838000000000 + np.arange(N),
            "raMean": RA,
            "decMean": DEC,
            "epochMean": np.full(N, 56000.0),
            **{f"{band}MeanPSFMag": np.where(np.arange(N) == 3, -999.0, MAG) for band in "grizy"},
            **{f"{band}MeanPSFMagErr": np.full(N, 0.01) for band in "grizy"},
            "iMeanKronMag": MAG - np.where(np.arange(N) < 2, 0.3, 0.01),
        }
    )


def skymapper() -> Table:
    return Table(
        {
            "object_id": np.arange(N) + 100_000,
            "raj2000": RA,
            "dej2000": DEC,
            "mean_epoch": np.full(N, 57500.0),
            **{f"{band}_psf": MAG for band in "uvgriz"},
            **{f"e_{band}_psf": np.full(N, 0.02) for band in "uvgriz"},
        }
    )


def refcat2() -> Table:
    return Table(
        {
            "objid": np.arange(N) + 5_000_000,
            "RA": RA,
            "Dec": DEC,
            "plx": np.full(N, 1.0),
            "pmra": np.full(N, 3.0),
            "pmdec": np.full(N, 4.0),
            "Gaia": MAG,
            "dGaia": np.full(N, 0.001),
            **{band: np.where(np.arange(N) == 5, 0.0, MAG) for band in "griz"},
            **{f"d{band}": np.full(N, 0.01) for band in "griz"},
        }
    )


def standard(path: Path, **options: Any) -> StandardCatalogue:
    table = read_table(path)
    return standardise(table, recognised(table.colnames), **options)


def magnitude(stars: Table, band: str) -> np.ndarray:
    return 31.4 - 2.5 * np.log10(np.asarray(stars[f"{band}_flux"], float))


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "ecsv", "vot", "fits", "parquet"])
def test_gaia_is_read_in_every_format_of_its_archive(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"gaia.{suffix}"
    if suffix == "csv.gz":
        # The archive's bulk files: ECSV in spite of their name.
        gaia().write(tmp_path / "plain.ecsv")
        path.write_bytes(gzip.compress((tmp_path / "plain.ecsv").read_bytes()))
    else:
        gaia().write(path, format={"vot": "votable"}.get(suffix))
    found = standard(path)
    assert np.array_equal(found.stars["id"], 3017360348171372672 + np.arange(N))
    np.testing.assert_allclose(found.stars["ra"], RA, atol=1e-9)
    np.testing.assert_allclose(magnitude(found.stars, "gaia_G"), MAG + 0.1136, atol=1e-6)
    np.testing.assert_allclose(found.stars["gaia_G_fluxErr"] / found.stars["gaia_G_flux"], 1 / 500, rtol=1e-6)
    np.testing.assert_allclose(found.stars["epoch"], Time(2016.0, format="jyear", scale="tai").mjd)
    assert set(found.derived) == {"g", "r", "i"}
    # BP-RP = 1: G - r = -0.09837 + 0.08592 + 0.1907 - 0.1701 + 0.02263.
    np.testing.assert_allclose(magnitude(found.stars, "r"), MAG - 0.03078, atol=1e-4)


def test_missing_magnitudes_and_galaxies_of_panstarrs_are_left_out(tmp_path: Path) -> None:
    panstarrs().write(tmp_path / "ps1.csv")
    found = standard(tmp_path / "ps1.csv")
    assert found.dropped == {"no magnitude": 1, "extended": 2}
    assert len(found.stars) == N - 3
    assert found.bands == ("g", "r", "i", "z", "y")


def test_skymapper_and_refcat2_are_recognised(tmp_path: Path) -> None:
    skymapper().write(tmp_path / "sm.fits")
    refcat2().write(tmp_path / "rc2.csv")
    assert standard(tmp_path / "sm.fits").bands == ("u", "v", "g", "r", "i", "z")
    found = standard(tmp_path / "rc2.csv").stars
    assert np.isnan(found["r_flux"][5])
    np.testing.assert_allclose(magnitude(found, "gaia_G")[5], MAG[5] + 0.105, atol=1e-6)


def test_integer_files_of_refcat2_have_their_scales(tmp_path: Path) -> None:
    row = [8380000000, -540000000, 250, 10, 3000, 10, -2000, 10, 16123, 2, 16500, 3, 15600, 3, 5000, 100, 0]
    row += [
        300,
        99,
        99,
        99,
        16400,
        10,
        1,
        7,
        16050,
        11,
        1,
        7,
        15900,
        12,
        1,
        7,
        15850,
        13,
        1,
        7,
        20,
        15000,
        30,
    ]
    row += [14600, 40, 14500, 50]
    (tmp_path / "083-006.rc2").write_text("\n".join(",".join(map(str, row)) for _ in range(3)) + "\n")
    stars = standard(tmp_path / "083-006.rc2").stars
    assert (stars["ra"][0], stars["dec"][0]) == pytest.approx((83.8, -5.4))
    assert magnitude(stars, "r")[0] == pytest.approx(16.05)
    assert stars["pm_ra"][0] == pytest.approx(30.0)
    assert stars["parallax"][0] == pytest.approx(2.5)


def test_vizier_tables_have_units_and_a_ruler(tmp_path: Path) -> None:
    (tmp_path / "vizier.tsv").write_text(
        "#RESOURCE=yCat_1355\n#Name: I/355/gaiadr3\n"
        "RA_ICRS\tDE_ICRS\tSource\tPlx\tpmRA\tpmDE\tGmag\tBPmag\tRPmag\n"
        "deg\tdeg\t \tmas\tmas/yr\tmas/yr\tmag\tmag\tmag\n"
        "---------------\t---------------\t-----\t----\t----\t----\t----\t----\t----\n"
        "083.8000000000\t-05.4000000000\t3017360348171372672\t 2.5\t 30.0\t-20.0\t16.0\t16.4\t15.4\n"
        "083.9000000000\t-05.4100000000\t3017360348171372673\t    \t     \t     \t17.0\t     \t     \n"
    )
    stars = standard(tmp_path / "vizier.tsv").stars
    assert stars["pm_ra"][0] == pytest.approx(30.0)
    assert np.isnan(stars["pm_ra"][1])
    assert np.isnan(stars["gaia_BP_flux"][1])


@pytest.mark.parametrize(
    ("position", "magnitude"),
    [
        (("RAJ2000", "DEJ2000"), ("rmag", "e_rmag")),
        (("RA_ICRS", "DE_ICRS"), ("r'mag", "e_r'mag")),
        (("RA", "Dec"), ("r", "r_err")),
        (("ALPHA_J2000", "DELTA_J2000"), ("MAG_r", "MAGERR_r")),
    ],
)
def test_usual_names_of_columns_need_no_option(position: tuple[str, str], magnitude: tuple[str, str]) -> None:
    names = (*position, *magnitude)
    table = Table(dict(zip(names, (RA, DEC, MAG, np.full(N, 0.05)), strict=True)))
    stars = standardise(table, recognised(table.colnames))
    assert stars.bands == ("r",)
    np.testing.assert_allclose(stars.stars["ra"], RA)
    relative = np.asarray(stars.stars["r_fluxErr"]) / np.asarray(stars.stars["r_flux"])
    np.testing.assert_allclose(relative, 0.05 * np.log(10) / 2.5, rtol=1e-6)


def test_a_table_of_ones_own_has_named_columns_and_units(tmp_path: Path) -> None:
    Table(
        {
            "name": ["a", "b"],
            "alpha": ["05:35:12.0", "05:35:24.0"],
            "delta": ["-05:24:00", "-05:24:36"],
            "V": [14.0, 15.0],
            "S": [1e-3, 2e-3],
            "mu_a": [0.1, 0.2],
            "mu_d": [0.0, 0.1],
        }
    ).write(tmp_path / "own.csv")
    table = read_table(tmp_path / "own.csv")
    layout = recognised(table.colnames).with_columns(
        {"ra": "alpha", "dec": "delta", "V": "V", "r": "S", "pm_ra": "mu_a", "pm_dec": "mu_d"}, table.colnames
    )
    units = {"r": "Jy", "pm_ra": "arcsec/yr", "pm_dec": "arcsec/yr"}
    stars = standardise(table, layout, units=units, to_ab={"V": -0.02}, epoch=2000.0).stars
    np.testing.assert_allclose(stars["ra"], [83.8, 83.85])
    np.testing.assert_allclose(stars["dec"], [-5.4, -5.41])
    np.testing.assert_allclose(magnitude(stars, "V"), [13.98, 14.98])
    np.testing.assert_allclose(stars["r_flux"], [1e6, 2e6])
    np.testing.assert_allclose(stars["pm_ra"], [100.0, 200.0])
    with pytest.raises(CatalogueError, match="--epoch"):
        standardise(table, layout, units=units)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dec": DEC - 90}, "not on the sky"),
        ({"ra": np.full(N, np.nan)}, "No row has a position"),
        (
            {"phot_g_mean_mag": np.full(N, 99.0), "phot_bp_mean_mag": np.full(N, 99.0)},
            "credible magnitude|left",
        ),
        ({"pmra": np.full(N, 40_000.0)}, "more than any star"),
        ({"ref_epoch": np.full(N, 12.0)}, "epochs"),
        ({"ra": ["here"] * N}, "not a number"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    table = gaia()
    table.remove_columns(["phot_rp_mean_mag"])
    for name, values in change.items():
        table[name] = values
    table.write(tmp_path / "bad.csv")
    repo = tmp_path / "repo"
    create_repository(str(repo))
    before = sorted(repo.rglob("*"))
    result = CliRunner().invoke(main, [str(tmp_path / "bad.csv"), "--repo", str(repo), "--name", "bad"])
    assert result.exit_code == 1
    assert any(word in result.output for word in message.split("|")), result.output
    assert sorted(repo.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("stars.doc", "x", "format is unknown"),
        ("stars.csv", "", "no rows"),
        ("stars.csv", "ra,dec,phot\n1,2,3\n", "No column is known to be a magnitude"),
        ("stars.csv", "a,b\n1,2\n", "No column is known to be ra or dec"),
        ("stars.fits", "SIMPLE", "cannot be read as fits"),
        ("stars.parquet", "PAR", "cannot be read as parquet"),
        ("stars.vot", "<VOTABLE", "cannot be read as votable"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    result = CliRunner().invoke(main, [str(tmp_path / name), "--dry-run"])
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count(name) >= 1 or "No column" in message


def test_stars_enter_a_repository_once_and_more_may_be_added(tmp_path: Path) -> None:
    gaia()[:30].write(tmp_path / "one.csv")
    gaia()[20:].write(tmp_path / "two.csv")
    repo = str(tmp_path / "repo")
    create_repository(repo)
    run = CliRunner().invoke
    arguments = ["--repo", repo, "--name", "gaia"]
    first = run(main, [str(tmp_path / "one.csv"), *arguments])
    assert first.exit_code == 0, first.output
    again = run(main, [str(tmp_path / "two.csv"), *arguments])
    assert again.exit_code == 1
    assert "--add" in again.output
    added = run(main, [str(tmp_path / "two.csv"), *arguments, "--add"])
    assert added.exit_code == 0, added.output
    use_butler_types()
    with Butler.from_config(repo, collections="refcats") as butler:
        refs = butler.query_datasets("reference_stars")
        found = np.concatenate([np.asarray(butler.get(ref)["id"]) for ref in refs])
        units = {str(butler.get(ref)["pm_ra"].unit) for ref in refs}
    assert sorted(found) == sorted(3017360348171372672 + np.arange(N))
    assert units == {"mas / yr"}

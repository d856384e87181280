"""``prompt difference`` checks its options and files before it works, and shows numbers of any size."""

import http.server
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from prompt_processing.cli.difference import _digits, _outputs, _settings, _with_scatter, main
from prompt_processing.cli.difference_inputs import local_files, local_name, public_name, without_secrets
from prompt_processing.difference.errors import UnreadableImageError


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s.fits", "t.fits"):
        fits.writeto(tmp_path / name, np.random.default_rng(1).normal(300, 10, (64, 64)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "--gain -2", "--gain nan", "--gain 0", "--template-gain inf", "--threshold nan", "--threshold 0",
        "--threshold 1e9", "--saturation -1", "--template-saturation nan", "--seeing 0",
        "--template-seeing nan", "--plane 0", "--mask-bits one", "--mask-bits -1", "--output s.fits",
        "--catalogue t.fits", "--picture t.fits", "--picture x.xyz", "--catalogue x.csv",
        "--output no/d.fits", "--output /proc/d.fits",
    ],
)  # fmt: skip
def test_impossible_options_are_refused_by_name_before_any_work(files, words):
    arguments = words.split()
    before = {path: path.read_bytes() for path in files.iterdir()}
    result = CliRunner().invoke(main, ["s.fits", "t.fits", *arguments])
    assert result.exit_code == 2
    assert "reading" not in result.output
    error = result.output.splitlines()[-1]
    assert error.startswith("Error:") or arguments[0] in result.output
    assert arguments[0] in result.output
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_variance_and_weight_exclude_each_other(files):
    result = CliRunner().invoke(main, ["s.fits", "t.fits", "--variance", "VAR", "--weight", "WHT"])
    assert (result.exit_code, "exclude each other" in result.output) == (2, True)


def test_planes_named_by_extension_are_of_both_files_and_others_of_one(files):
    fits.writeto(files / "mask.fits", np.zeros((64, 64), np.uint8))
    names = [parameter.name for parameter in main.params]
    options = {**dict.fromkeys(names), "threshold": 5.0, "mask": "mask.fits", "variance": "VAR", "gain": 2.0}
    _, science, template = _settings(options)
    assert (science.mask, science.variance, science.gain) == ("mask.fits", "VAR", 2.0)
    assert (template.mask, template.variance, template.gain) == (None, "VAR", 2.0)


def test_file_that_cannot_be_read_is_an_error_of_status_1(files):
    result = CliRunner().invoke(main, ["no.fits", "t.fits"])
    assert result.exit_code == 1
    assert "Error: no.fits: there is no such file." in result.output


@pytest.mark.parametrize(
    ("science", "output", "expected"),
    [
        ("S.FITS", None, ("S_difference.fits", "S_difference.parquet", "S_difference.png")),
        ("a/s.fits.fz[SCI]", None, ("s_difference.fits", "s_difference.parquet", "s_difference.png")),
        ("s.Fit.GZ", None, ("s_difference.fits", "s_difference.parquet", "s_difference.png")),
        (
            "ngc7331.V",
            None,
            ("ngc7331.V_difference.fits", "ngc7331.V_difference.parquet", "ngc7331.V_difference.png"),
        ),
        ("s.fits", "out/d.fits.gz", ("out/d.fits.gz", "out/d.parquet", "out/d.png")),
        ("s.fits", "v1.2", ("v1.2", "v1.2.parquet", "v1.2.png")),
        (
            "https://x.org/s%20x.fits?sig=1",
            None,
            ("s x_difference.fits", "s x_difference.parquet", "s x_difference.png"),
        ),
    ],
)
def test_outputs_are_named_after_the_science_image(science, output, expected):
    options = {"output": output and Path(output), "catalogue": None, "picture": None, "no_picture": False}
    assert tuple(str(path) for path in _outputs(science, options)) == expected


@pytest.mark.parametrize(
    ("value", "scatter", "text"),
    [
        (267.377, 13.38, "267.4 +- 13.4"),
        (0.0123, 0.00451, "0.01230 +- 0.00451"),
        (2.67e-16, 1.34e-17, "(26.70 +- 1.34)e-17"),
        (0.0, 0.0, "0 +- 0"),
        (5e9, 3e8, "(50.00 +- 3.00)e+08"),
    ],
)
def test_numbers_of_any_size_are_shown(value, scatter, text):
    assert _with_scatter(value, scatter) == text
    assert _digits(2.5e-19) == "2.5e-19"


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    fits.writeto(tmp_path / "served" / "s.fits", np.ones((9, 9)))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_url_is_fetched_and_the_copy_removed(server, tmp_path):
    progress = []
    with local_files([f"{server}/s.fits[0]", str(tmp_path)], progress.append) as fetched:
        (copy, shown), other = fetched
        assert other == (str(tmp_path), None)
        assert shown == f"{server}/s.fits"
        file = Path(copy.removesuffix("[0]"))
        assert fits.getdata(file).shape == (9, 9)
    assert not file.exists()
    assert progress == [f"fetching {server}/s.fits"]


def test_missing_url_is_named(server):
    with (
        pytest.raises(UnreadableImageError, match=r"none\.fits: there is no such file"),
        local_files([f"{server}/none.fits"], print),
    ):
        pass


def test_secrets_of_a_url_are_never_shown():
    url = "https://me:secret@example.org/a%20b.fits?X-Amz-Signature=secret"
    assert public_name(url) == "https://example.org/a b.fits"
    assert local_name(url + "[SCI]") == "a b.fits"


def test_messages_of_clients_lose_the_secrets_of_urls():
    message = "cannot GET https://me:secret@x.org/a.fits?sig=secret&b=1:\n Max retries for /a.fits?sig=secret"
    assert without_secrets(message) == "cannot GET https://x.org/a.fits Max retries for /a.fits"

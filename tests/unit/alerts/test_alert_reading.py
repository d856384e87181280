"""Alerts are read back from wherever they are, and shown."""

import base64
import io
import json
import tarfile

import fastavro
import pytest
from alert_packets import SCHEMA, encode, frame
from lsst.alert.packet import Schema, get_schema_path

from prompt_processing.alerts.files import KEPT, AlertFile
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.reading import AlertReader, UnreadableAlertError
from prompt_processing.cli.main import run
from prompt_processing.transport.schema_registry import UnknownSchemaError

FITS = b"SIMPLE  =                    T" + b" " * 2850


@pytest.mark.parametrize("packet", [frame(encode(77)), encode(77)], ids=["framed", "bare"])
def test_packet_is_decoded_with_framing_and_without(packet):
    alert = AlertReader().decode(packet)
    assert alert["diaSourceId"] == 77
    assert alert["diaSource"]["ra"] == 155.5


def test_packet_is_decoded_with_the_schema_that_it_names():
    older = Schema.from_file(f"{get_schema_path(9, 0)}/lsst.v9_0.alert.avsc")
    assert AlertReader().decode(frame(encode(5, older), 900))["diaSourceId"] == 5


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"", "not an alert"),
        (b"\0\0", "framing"),
        (frame(encode(1))[:-3], "not an alert"),
        (frame(encode(1) + b"x"), "left over"),
        (frame(encode(1), 4711), "4711"),
        (b"\xff" * 400, "not an alert"),
    ],
)
def test_what_is_no_alert_is_refused(packet, complaint):
    with pytest.raises(UnreadableAlertError, match=complaint):
        AlertReader().decode(packet)


class Registry:
    """Knows one schema."""

    def schema(self, schema_id):
        if schema_id != 4711:
            raise UnknownSchemaError(f"schema {schema_id} is not registered")
        return fastavro.parse_schema(SCHEMA.definition)


def test_schemas_that_are_not_installed_come_from_the_registry():
    reader = AlertReader(Registry())
    assert reader.decode(frame(encode(1), 4711))["diaSourceId"] == 1
    with pytest.raises(UnreadableAlertError, match="schema 4712 is not registered"):
        reader.decode(frame(encode(1), 4712))


@pytest.fixture
def folder(tmp_path):
    """Four alerts: a framed file, a bare one, and two in a tar that a worker kept."""
    (tmp_path / "one.avro").write_bytes(frame(encode(1, cutoutScience=FITS)))
    (tmp_path / "two.avro").write_bytes(encode(2))
    kept = [Alert(number, frame(encode(number))) for number in (3, 4)]
    private = tmp_path / "unsent-alerts"
    private.mkdir(mode=0o700)
    AlertFile.write(private, 1, 2, 0.0, kept, KEPT).release()
    return tmp_path


def test_folder_is_shown_as_a_table(folder, capsys):
    assert run("alerts", "show", str(folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["diaSourceId", "1", "2", "3", "4", "4"]
    assert lines[1].split()[1:4] == ["2026060900578", "94", "155.500000"]
    assert lines[-1] == "4 alerts"


def test_one_alert_is_shown_as_a_tree_without_what_is_null(folder, capsys):
    assert run("alerts", "show", str(folder), "--id", "3") == 0
    shown = capsys.readouterr().out
    assert "── diaSource\n" in shown
    assert "visit: 2026060900578" in shown
    assert "ssSource" not in shown


def test_alerts_are_written_as_json_with_their_files(folder, capsys):
    assert run("alerts", "show", str(folder), "--json") == 0
    alerts = json.loads(capsys.readouterr().out)
    assert [alert["diaSourceId"] for alert in alerts] == [1, 2, 3, 4]
    assert base64.b64decode(alerts[0]["cutoutScience"]) == FITS


def test_not_a_number_is_null_in_json(tmp_path, capsys):
    (tmp_path / "nan.avro").write_bytes(
        encode(8, diaSource=AlertReader().decode(encode(8))["diaSource"] | {"dec": float("nan")})
    )
    assert run("alerts", "show", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["diaSource"]["dec"] is None


def test_cutouts_become_fits_files(folder, tmp_path):
    assert run("alerts", "show", str(folder), "--cutouts", str(tmp_path / "stamps")) == 0
    (stamp,) = (tmp_path / "stamps").iterdir()
    assert stamp.name == "1_science.fits"
    assert stamp.read_bytes() == FITS


def test_unreadable_alert_is_reported_and_the_others_are_shown(folder, capsys):
    (folder / "broken.avro").write_bytes(frame(b"\xff" * 9))
    with tarfile.open(folder / "cut.tar", "w") as tar:
        member = tarfile.TarInfo("9.avro")
        member.size = 20000
        tar.addfile(member, io.BytesIO(bytes(20000)))
    (folder / "cut.tar").write_bytes((folder / "cut.tar").read_bytes()[:5000])
    assert run("alerts", "show", str(folder)) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "4 alerts"
    assert "broken.avro" in captured.err
    assert "cut.tar" in captured.err


def test_avro_file_with_its_own_schema_is_read(tmp_path, capsys):
    with (tmp_path / "many.avro").open("wb") as file:
        fastavro.writer(
            file,
            fastavro.parse_schema(SCHEMA.definition),
            [AlertReader().decode(encode(number)) for number in (11, 12)],
        )
    assert run("alerts", "show", str(tmp_path / "many.avro")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 alerts"


def test_folder_without_alerts_is_a_failure(tmp_path, capsys):
    assert run("alerts", "show", str(tmp_path)) == 1
    assert "No readable alert" in capsys.readouterr().err

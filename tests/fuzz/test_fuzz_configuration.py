"""What operators write: pipelines' configuration, the fan-out's file, every process's environment."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from fuzz_inputs import NASTY_TEXT, VALUES, VISIT, damaged, many_inputs, spoilt
from hypothesis import given
from hypothesis import strategies as st

from prompt_processing.activator.stream_worker import load_settings, make_stream
from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.domain.visit import NextVisit
from prompt_processing.fanout.config import ConfigurationError, DetectorMap, FanOutSettings
from prompt_processing.initializer.config import InitializerSettings
from prompt_processing.raw_microservice.config import MicroserviceSettings
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.pipelines import BinaryMap, parse_selection
from prompt_processing.settings.worker import Settings

SECRET = "hush-it-is-a-secret"
NODE = {
    "survey": "wide",
    "ra": {"min": 350.0, "max": 10.0},
    "dec": {"min": -30.0, "max": 5.0},
    "coord-type": "boresight",
    "pipelines": ["${HOME}/ApPipe.yaml", "/pipelines/SingleFrame.yaml"],
}
BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 8)}]" for n in range(20)
)
HOSTILE_YAML = st.sampled_from(
    [
        "!!python/object/apply:os.system ['touch /tmp/never']",
        "!!python/name:os.system",
        "!!python/object/new:os.system [x]",
        "- !!binary 'not base64 ***'",
        "- !!timestamp 2001-99-99",
        "2001-99-99",
        "[" * 5000,
        "{a: " * 5000,
        "- " * 3000,
        "&a [*a]",
        "- &a {pipelines: *a}",
        "? [a]\n: b",
        "a: b: c",
        "\t",
        "- 0b_",
        "- 0x_",
        "- 190:20:30:99:99",
        "- !!int 'x'",
        "- !!float 'x'",
        "<<: x",
        "- <<: [1]",
        "%YAML 9.9\n---\n",
        "\ud800",
        "\0",
        BOMB,
    ]
)


def yaml_text(good) -> st.SearchStrategy[str]:
    text = yaml.safe_dump(good, sort_keys=False)
    return st.one_of(
        HOSTILE_YAML,
        st.text(max_size=60),
        damaged(text.encode()).map(lambda content: content.decode("latin-1")),
        VALUES.map(lambda value: json.dumps(value)),
    )


SELECTION = st.one_of(
    yaml_text([NODE, {"pipelines": []}]),
    spoilt(NODE).map(lambda node: json.dumps([node])),
    spoilt(NODE["ra"]).map(lambda limits: json.dumps([{**NODE, "ra": limits}])),
    NASTY_TEXT.map(lambda path: json.dumps([{"pipelines": [path]}])),
    NASTY_TEXT.map(lambda path: json.dumps([{"pipelines": [], "binary-map": path}])),
)


@many_inputs()
@given(text=SELECTION)
def test_any_pipelines_configuration_is_one_or_is_refused(text):
    try:
        selection = parse_selection(text)
    except ValueError:
        return
    try:
        chosen = selection.select(NextVisit.parse(VISIT), lambda: (155.5, -4.25))
    except NonRetriableError:
        return
    assert set(chosen) <= set(selection.paths)


@pytest.fixture(scope="module")
def map_file(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("maps") / "map.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("T", "B", array=np.zeros(48, np.uint8))])
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 2, "COORDSYS": "C"})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    assert BinaryMap.read(str(path))(10.0, 10.0) is False
    return path.read_bytes()


@many_inputs()
@given(data=st.data())
def test_any_binary_map_is_one_or_is_refused(tmp_path_factory, map_file, data):
    path = tmp_path_factory.getbasetemp() / "damaged-map.fits"
    path.write_bytes(data.draw(damaged(map_file)))
    try:
        found = BinaryMap.read(str(path))
    except ValueError:
        return
    assert found(10.0, 10.0) in (True, False, None)


DETECTORS = {
    "detectors": {"LSSTCam": {0: True, 1: False}, "LSSTCam-TEST-2025050100367": {94: True}},
    "knative-urls": {"LSSTCam": "http://lsstcam.example"},
    "redis-streams": {"LSSTCam": "instrument:lsstcam"},
}


@many_inputs()
@given(
    content=st.one_of(
        yaml_text(DETECTORS).map(lambda text: text.encode("utf-8", "surrogatepass")),
        spoilt(DETECTORS).map(lambda document: json.dumps(document).encode()),
        spoilt({"0": True, "1": False}).map(
            lambda ids: json.dumps({**DETECTORS, "detectors": {"LSSTCam": ids}}).encode()
        ),
        st.binary(max_size=100),
    )
)
def test_any_fan_out_configuration_is_one_or_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "instruments.yaml"
    path.write_bytes(content)
    try:
        detectors = DetectorMap.load(path)
    except ConfigurationError:
        return
    assert all(isinstance(number, int) for number in detectors.active_detectors(NextVisit.parse(VISIT)))


ACTIVATOR = {
    "RUBIN_INSTRUMENT": "LSSTCam",
    "SKYMAP": "sky",
    "CENTRAL_REPO": "/repo",
    "READ_CENTRAL_REPO": "/repo-read",
    "LOCAL_REPOS": "/tmp",
    "LOCAL_REPO_CACHE_SIZE": "3",
    "REPO_RETRY_DELAY": "30",
    "IMAGE_BUCKET": "raws",
    "S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "LSST_DISABLE_BUCKET_VALIDATION": "1",
    "RAW_MICROSERVICE": "http://127.0.0.1:9",
    "KAFKA_CLUSTER": "127.0.0.1:9",
    "BUCKET_TOPIC": "notices",
    "BUCKET_NOTIFICATION_KAFKA_OFFSET_RESET": "latest",
    "IMAGE_TIMEOUT": "20",
    "PRELOAD_PADDING": "30",
    "PREPROCESSING_PIPELINES_CONFIG": "- pipelines: []",
    "MAIN_PIPELINES_CONFIG": "- pipelines: [/a/ApPipe.yaml]",
    "CONFIG_APDB": "/apdb.yaml",
    "DEBUG_EXPORT_OUTPUTS": "1",
    "EXPORT_TYPE_REGEXP": "- .*",
    "WORKER_TIMEOUT": "900",
    "WORKER_RESTART_FREQ": "0",
    "WORKER_GRACE_PERIOD": "30",
    "MESSAGE_EXPIRATION": "3600",
    "SERVICE_LOG_LEVELS": "timer.lsst.activator=DEBUG .=INFO",
    "MP_SKY_URL": "http://127.0.0.1:9",
    "SASQUATCH_URL": "http://127.0.0.1:9",
    "SASQUATCH_TOKEN": SECRET,
    "REDIS_STREAM_HOST": "127.0.0.1:9",
    "REDIS_STREAM_NAME": "instrument:lsstcam",
    "USE_KAFKA_BUTLER_WRITER": "1",
    "BUTLER_WRITER_KAFKA_CLUSTER": "127.0.0.1:9",
    "BUTLER_WRITER_KAFKA_USERNAME": "writer",
    "BUTLER_WRITER_KAFKA_PASSWORD": SECRET,
    "BUTLER_WRITER_KAFKA_TOPIC": "outputs",
    "AP_KAFKA_SERVER": "127.0.0.1:9",
    "AP_KAFKA_TOPIC": "alerts",
    "AP_KAFKA_PRODUCER_USERNAME": "producer",
    "AP_KAFKA_PRODUCER_PASSWORD": SECRET,
    "PORT": "8080",
    "METRICS_PORT": "8000",
    "WEB_CONCURRENCY": "1",
}
FAN_OUT = {
    "SUPPORTED_INSTRUMENTS": "LSSTCam LATISS",
    "INSTRUMENT_CONFIG_FILE": "/instruments.yaml",
    "KAFKA_CLUSTER": "127.0.0.1:9",
    "CONSUMER_GROUP": "fan-out",
    "NEXT_VISIT_TOPIC": "next-visit-topic",
    "OFFSET": "latest",
    "MESSAGE_EXPIRATION": "3600",
    "KAFKA_SCHEMA_REGISTRY_URL": "http://127.0.0.1:9",
    "MAX_FAN_OUT_MESSAGES": "1000",
    "RETRY_KNATIVE_REQUESTS": "true",
    "PLATFORM": "keda",
    "REDIS_HOST": "127.0.0.1:9",
    "SASL_USERNAME": "user",
    "SASL_PASSWORD": SECRET,
    "SASL_MECHANISM": "SCRAM-SHA-512",
    "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "METRICS_PORT": "0",
    "SHUTDOWN_GRACE_S": "10",
}
WRITER = {
    "BUTLER_REPOSITORY": "/repo",
    "KAFKA_CLUSTER": "127.0.0.1:9",
    "KAFKA_TOPIC": "outputs",
    "KAFKA_OUTPUT_TOPIC": "events",
    "KAFKA_USERNAME": "writer",
    "KAFKA_PASSWORD": SECRET,
    "OUTPUT_DATASET_LIST_DIRECTORY": "/lists",
    "WRITER_DEBUG_LEVEL": "INFO",
    "METRICS_PORT": "0",
    "WRITER_RETRY_DELAY": "5",
}
MICROSERVICE = {
    "IMAGE_BUCKET": "raws",
    "S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "KAFKA_CLUSTER": "127.0.0.1:9",
    "BUCKET_TOPIC": "notices",
    "KAFKA_USERNAME": "reader",
    "KAFKA_PASSWORD": SECRET,
    "SUPPORTED_INSTRUMENTS": "LSSTCam",
    "BUCKET_INTERVAL": "3",
    "PORT": "8080",
    "THREADS": "4",
}
INITIALIZER = {
    name: ACTIVATOR[name]
    for name in (
        "RUBIN_INSTRUMENT",
        "CENTRAL_REPO",
        "PREPROCESSING_PIPELINES_CONFIG",
        "MAIN_PIPELINES_CONFIG",
        "CONFIG_APDB",
    )
}
PROCESSES = {
    "activator": (ACTIVATOR, Settings.load),
    "stream worker": (ACTIVATOR, load_settings),
    "fan-out": (FAN_OUT, FanOutSettings.load),
    "writer": (WRITER, WriterSettings.load),
    "raw microservice": (MICROSERVICE, MicroserviceSettings.load),
    "initializer": (INITIALIZER, InitializerSettings.load),
}
ANY_VALUE = st.one_of(
    NASTY_TEXT,
    st.text(max_size=30),
    HOSTILE_YAML,
    SELECTION,
    st.sampled_from(
        ["true", "no", "-1", "1e999", "0x10", " 5 ", "99999999999999999999", "127.0.0.1:port", "[::1]:6379"]
    ),
)


@contextmanager
def environment(variables):
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update({"HOME": before.get("HOME", "/"), **variables})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("process", sorted(PROCESSES))
@many_inputs()
@given(data=st.data())
def test_any_environment_is_settings_or_is_refused_without_telling_secrets(process, data):
    good, load = PROCESSES[process]
    drawn = data.draw(spoilt(good, ANY_VALUE))
    # What no environment can hold cannot come out of one.
    sendable = {
        name: value
        for name, value in drawn.items()
        if name in good and "\0" not in value and value.isprintable() and len(value) < 3000
    }
    with environment(sendable):
        try:
            settings = load()
        except SettingsError as error:
            assert str(error)  # noqa: PT017
            assert SECRET not in f"{error} {error!r}"  # noqa: PT017
            return
        # All that a process makes of its settings without talking to anybody.
        assert SECRET not in repr(settings)
        assert SECRET not in str(settings)
        if process == "stream worker":
            make_stream(settings)
        for clients in ("notices_kafka", "kafka"):
            if hasattr(settings, clients):
                getattr(settings, clients).client_configuration()


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_the_good_environment_is_good(process):
    good, load = PROCESSES[process]
    with environment(good):
        load()


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_settings_that_are_not_utf_8_are_named(process):
    good, load = PROCESSES[process]
    malformed = {"KAFKA_CLUSTER": os.fsdecode(b"kafka\xff"), "CENTRAL_REPO": os.fsdecode(b"\xfe")}
    with environment({**good, **malformed}), pytest.raises(SettingsError, match="not UTF-8") as caught:
        load()
    assert set(caught.value.problems) == malformed.keys() & good.keys()
    str(caught.value).encode()


def test_yaml_of_the_project_is_read_safely_where_it_is_hostile(tmp_path):
    # Should a loader ever run code, it would run this.
    witness = Path(tmp_path / "witness")
    hostile = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{witness}]]"
    path = tmp_path / "instruments.yaml"
    path.write_text(hostile)
    with pytest.raises(ValueError, match="not YAML"):
        parse_selection(hostile)
    with pytest.raises(ConfigurationError):
        DetectorMap.load(path)
    assert not witness.exists()

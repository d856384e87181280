"""What the raw microservice knows, from notices and from a bucket that is make-believe."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.instruments.raw_key import RawKey, format_raw_key
from prompt_processing.instruments.raw_store import ExposureIdentity
from prompt_processing.raw_microservice.app import create_app
from prompt_processing.raw_microservice.config import MicroserviceSettings
from prompt_processing.raw_microservice.index import RawIndex
from prompt_processing.raw_microservice.service import BucketUnavailableError, PresenceService
from prompt_processing.settings.environment import SettingsError
from prompt_processing.telemetry.health import Health

NOW = 1_749_543_541.0
"""2025-06-10T08:19:01 UTC, in the night of 2025-06-09."""
GROUP = "2025-06-10T08:18:28.123"
EXPOSURE = 2025_06_09_00578
DETECTOR, NAME = 94, "R22_S11"


class FakeBucket:
    """Raws by exposure, and their identities; counts what it is asked."""

    uri = "s3://embargo@raw"

    def __init__(self) -> None:
        self.content: dict[int, dict[int, float]] = {}
        self.identities: dict[int, ExposureIdentity] = {}
        self.listed = self.identified = 0
        self.failure: Exception | None = None
        self.delay = 0.0

    def put(self, exposure: int, group: str, *detectors: int, snap: int | None = None) -> None:
        self.content.setdefault(exposure, {}).update(dict.fromkeys(detectors, NOW))
        self.identities[exposure] = ExposureIdentity(group, snap)

    def folders(self, instrument: str, nights: list[int]) -> list[tuple[int, str]]:
        self._maybe_fail()
        self.listed += 1
        of_nights = [exposure for exposure in self.content if exposure // 100_000 in nights]
        return [(exposure, f"{exposure}/") for exposure in sorted(of_nights, reverse=True)]

    def raws(self, folder: str) -> Iterator[tuple[RawKey, float]]:
        exposure = int(folder.rstrip("/"))
        for detector, arrival in self.content[exposure].items():
            yield format_raw_key("LSSTCam", detector, exposure), arrival

    def identify(self, raw: RawKey) -> ExposureIdentity | None:
        self._maybe_fail()
        self.identified += 1
        return self.identities.get(raw.exposure)

    def _maybe_fail(self) -> None:
        time.sleep(self.delay)
        if self.failure is not None:
            raise self.failure


class World:
    def __init__(self) -> None:
        self.clock = 0.0
        self.bucket = FakeBucket()
        self.index = RawIndex()
        self.service = PresenceService(
            self.index,
            self.bucket,  # type: ignore[arg-type]
            ["LSSTCam"],
            3.0,
            now=lambda: NOW,
            monotonic=lambda: self.clock,
        )

    def note(self, detector: int = DETECTOR, exposure: int = EXPOSURE, **options: Any) -> None:
        key = format_raw_key("LSSTCam", detector, exposure, **options).key
        self.service.note(ArrivalNotice((key,), NOW))

    def find(self, detector: int = DETECTOR, group: str = GROUP, snap: int = 0) -> str | None:
        raw = self.service.find("LSSTCam", group, snap, detector)
        return None if raw is None else raw.key


@pytest.fixture
def micro() -> World:
    return World()


def test_noticed_raw_is_found_without_listing_the_bucket(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR)
    micro.note()
    assert micro.find() == format_raw_key("LSSTCam", DETECTOR, EXPOSURE).key
    assert micro.bucket.listed == 0


def test_group_is_read_once_an_exposure(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, *range(189))
    for detector in range(189):
        micro.note(detector)
    assert micro.bucket.identified == 1
    assert all(micro.find(detector) for detector in range(189))


def test_raw_without_a_notice_is_found_in_the_bucket(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR)
    assert micro.find() is not None
    assert micro.find(detector=10) is None


def test_bucket_is_asked_once_for_all_who_wait_for_the_same_group(micro: World) -> None:
    for _ in range(20):
        assert micro.find() is None
    assert micro.bucket.listed == 1
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR)
    micro.clock += 3.5
    assert micro.find() is not None
    assert micro.bucket.listed == 2


def test_hundreds_who_ask_at_once_cost_one_look(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, *range(189))
    micro.bucket.delay = 0.1
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(micro.find, range(189)))
    assert micro.bucket.listed == 1


def test_detectors_of_a_known_exposure_that_came_without_notice_are_found(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR, 10)
    micro.note()
    assert micro.find(detector=10) is not None


def test_snaps_are_told_apart_by_header_or_else_by_order(micro: World) -> None:
    micro.bucket.put(EXPOSURE + 1, GROUP, DETECTOR, snap=1)
    micro.note(exposure=EXPOSURE + 1)
    assert micro.find(snap=0) is None
    assert micro.find(snap=1) is not None
    for number in (2, 3):
        micro.bucket.put(EXPOSURE + number, "other", DETECTOR)
        micro.note(exposure=EXPOSURE + number)
    first, second = micro.find(group="other", snap=0), micro.find(group="other", snap=1)
    assert first is not None
    assert second is not None
    assert first < second
    assert micro.find(group="other", snap=2) is None


def test_bucket_that_does_not_answer_is_told_but_what_is_known_is_still_answered(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR)
    micro.note()
    micro.bucket.failure = ConnectionError("away")
    assert micro.find() is not None
    with pytest.raises(BucketUnavailableError):
        micro.find(group="unknown")


def test_notice_whose_group_could_not_be_read_is_not_lost(micro: World) -> None:
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR)
    micro.bucket.failure = ConnectionError("away")
    micro.note()
    micro.bucket.failure = None
    assert micro.find() is not None


@pytest.mark.parametrize("key", ["LSSTCam/20250609/x.json", "LATISS/20250609/a.fits", "", "../../etc/passwd"])
def test_other_objects_are_passed_over(micro: World, key: str) -> None:
    micro.service.note(ArrivalNotice((key,), NOW))
    assert len(micro.index) == 0


def test_oldest_exposures_are_forgotten() -> None:
    index = RawIndex(capacity=2)
    for exposure in (EXPOSURE, EXPOSURE + 1, EXPOSURE + 2):
        index.add(format_raw_key("LSSTCam", DETECTOR, exposure), NOW)
        index.identify("LSSTCam", exposure, ExposureIdentity(str(exposure), 0))
    assert len(index) == 2
    assert index.find("LSSTCam", str(EXPOSURE), 0, DETECTOR) is None
    assert index.find("LSSTCam", str(EXPOSURE + 2), 0, DETECTOR) is not None


def test_question_is_answered_as_the_workers_expect(micro: World) -> None:
    client = create_app(micro.service, Health()).test_client()
    url = f"/LSSTCam/{GROUP}/0/{NAME}"
    assert client.get(url).get_json() == {
        "error": False,
        "message": "Not arrived yet.",
        "present": False,
        "uri": None,
        "date": None,
    }
    micro.bucket.put(EXPOSURE, GROUP, DETECTOR)
    micro.note()
    answer = client.get(url).get_json()
    assert answer["present"]
    assert answer["uri"] == f"s3://embargo@raw/{format_raw_key('LSSTCam', DETECTOR, EXPOSURE).key}"
    assert answer["date"] == "2025-06-10T08:19:01+00:00"


@pytest.mark.parametrize(
    "url",
    ["/HSC/g/0/1_39", "/LSSTCam/g/0/R99_S99", "/LSSTCam/g/-1/R22_S11", f"/LSSTCam/{'g' * 300}/0/{NAME}"],
)
def test_what_cannot_exist_is_refused(micro: World, url: str) -> None:
    response = create_app(micro.service, Health()).test_client().get(url)
    assert response.status_code == 404
    assert micro.bucket.listed == 0


def test_nobody_knows_is_an_error_so_that_workers_ask_the_bucket_themselves(micro: World) -> None:
    micro.bucket.failure = ConnectionError("away")
    response = create_app(micro.service, Health()).test_client().get(f"/LSSTCam/{GROUP}/0/{NAME}")
    assert response.status_code == 503
    assert response.get_json()["error"]


def test_all_unusable_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMAGE_BUCKET", "KAFKA_CLUSTER", "BUCKET_TOPIC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORT", "many")
    with pytest.raises(SettingsError) as caught:
        MicroserviceSettings.load()
    assert all(
        name in str(caught.value) for name in ("IMAGE_BUCKET", "KAFKA_CLUSTER", "BUCKET_TOPIC", "PORT")
    )


def test_index_may_be_used_by_many_threads() -> None:
    index = RawIndex(capacity=50)
    failures: list[Exception] = []

    def work(start: int) -> None:
        try:
            for number in range(300):
                exposure = 20250609_00000 + (start * 300 + number) % 700
                index.add(format_raw_key("LSSTCam", DETECTOR, exposure), NOW)
                index.identify("LSSTCam", exposure, ExposureIdentity(str(exposure), None))
                index.find("LSSTCam", str(exposure), 0, DETECTOR)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(index) == 50


def test_questions_are_counted_by_answer(micro: World) -> None:
    client = create_app(micro.service, Health()).test_client()
    for _ in range(2):
        client.get(f"/LSSTCam/{GROUP}/0/R99_S99")
    text = client.get("/metrics").text
    assert 'raw_microservice_questions_total{answer="impossible"} 2.0' in text
    assert "raw_microservice_answer_seconds_count 2.0" in text

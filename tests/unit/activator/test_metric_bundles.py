"""Which metrics of a visit are sent."""

from __future__ import annotations

from collections.abc import Sequence

from lsst.pipe.base import TaskMetadata

from prompt_processing.activator.services.metric_bundles import bundles_of_visit
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.telemetry.sasquatch import Bundle

VISIT = FannedOutVisit.parse(
    {
        "salIndex": 1,
        "startTime": 1.7e9,
        "cameraAngle": 0.0,
        "groupId": "2025-06-10T08:18:28.123",
        "coordinateSystem": 2,
        "position": [155.5, -4.25],
        "rotationSystem": 2,
        "filters": "r_57",
        "duration": 5.0,
        "nimages": 1,
        "instrument": "LSSTCam",
        "survey": "wide",
        "private_sndStamp": 1.7e9,
        "detector": 94,
    }
)


PRELOAD = {"numDatasets": 40, "prep_butlerTotalTime": 0.5, "prep_butlerSearchTime": 0.3}
RUNS = {"NoPipeline": "LSSTCam/prompt/output/NoPipeline/1", "ApPipe": "LSSTCam/prompt/output/ApPipe/1"}


def bundles(outcome: Outcome, **metadata: dict[str, object]) -> Sequence[Bundle]:
    # As the middleware keeps it: a task's own entries under its label, beside those of its execution.
    kept = {
        label: TaskMetadata.from_dict({label: values, "quantum": {"startUtc": "2025-06-10"}})
        for label, values in metadata.items()
    }
    return list(bundles_of_visit(VISIT, outcome, PRELOAD, kept, RUNS))


def test_preload_and_each_task_have_a_bundle() -> None:
    outcome = Outcome(
        Status.PROCESSED, "", stages={"preload": 0.6}, exposures=(2025061000578,), pipeline="ApPipe"
    )
    found = bundles(
        outcome,
        calibrateImage={"nStars": 150, "astrometryRms": 0.012, "reference": "a name"},
        filterDiaSource={"numKept": 7, "numRejected bad edge": 2},
        standardizeDiaSource={},
    )
    assert [bundle.name for bundle in found] == [
        "promptPreload_metrics",
        "prepButlerTimeMetric",
        "calibrateImage_metrics",
        "filterDiaSource_metrics",
    ]
    preload, times, calibration, filtering = found
    assert preload.values == {"preloadTime": 0.6, **PRELOAD}
    assert times.values == {
        "prep_butlerTotalTime": 0.5,
        "prep_butlerSearchTime": 0.3,
        "prep_butlerTransferTime": 0.0,
        "prep_butlerPreprocessTime": 0.0,
    }
    assert calibration.values == {"nStars": 150, "astrometryRms": 0.012}
    assert filtering.values["numRejected bad edge"] == 2
    identity = {
        "dataset_tag": "Live",
        "instrument": "LSSTCam",
        "group": "2025-06-10T08:18:28.123",
        "detector": "94",
        "survey": "wide",
    }
    assert times.identity == preload.identity
    assert preload.identity == {
        **identity,
        "run": RUNS["NoPipeline"],
        "dataset_type": "promptPreload_metrics",
    }
    assert calibration.identity == {
        **identity,
        "visit": "2025061000578",
        "run": RUNS["ApPipe"],
        "dataset_type": "calibrateImage_metrics",
    }


def test_visit_without_an_image_has_been_preloaded_all_the_same() -> None:
    bundle, times = bundles(
        Outcome(Status.FAILED, "No image arrived.", stages={"preload": 0.6, "wait": 60.0})
    )
    assert (bundle.name, times.name) == ("promptPreload_metrics", "prepButlerTimeMetric")


def test_skipped_visit_has_no_metrics() -> None:
    assert bundles(Outcome(Status.SKIPPED, "", stages={"queue": 1.0})) == []

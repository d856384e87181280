"""Seconds of each step of a visit in one worker, without the waiting and the messages around it.

    python benchmarks/visit_in_repositories.py /tmp/night --detectors 90 94 --visits 2 --pipelines SingleFrame

The night is simulated once and used again by the next call.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsst.dax.apdb.sql import ApdbSql
from lsst.resources import ResourcePath

from prompt_processing.activator.config import Settings
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.images import use_butler_types
from prompt_processing.instruments.headers import read_header, translate
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.simulation.night import Night, build_night

PIPELINES = Path(__file__).parents[1] / "pipelines"


def timed(name: str, action: Callable[[], Any]) -> Any:
    start = time.monotonic()
    result = action()
    print(f"  {name:24s}{time.monotonic() - start:8.3f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("night", type=Path)
    parser.add_argument("--instrument", default="LSSTCam")
    parser.add_argument("--detectors", type=int, nargs="+", default=[90, 94])
    parser.add_argument("--visits", type=int, default=2)
    parser.add_argument(
        "--miniature", type=int, nargs=2, metavar=("COLUMNS", "ROWS"), help="size of amplifiers"
    )
    parser.add_argument("--pipelines", nargs="+", default=["ApPipe", "SingleFrame", "Isr"])
    options = parser.parse_args()
    use_butler_types()
    if not (options.night / "night.json").exists():
        timed(
            "simulate",
            lambda: build_night(
                options.night,
                options.instrument,
                options.detectors,
                options.visits,
                miniature=options.miniature and tuple(options.miniature),
            ),
        )
    night = Night.load(options.night)
    folder = Path(tempfile.mkdtemp(prefix="visit-"))
    try:
        run(night, folder, options.pipelines)
    finally:
        shutil.rmtree(folder)


def run(night: Night, folder: Path, stems: list[str]) -> None:
    instrument = night.camera.name
    paths = {stem: str(PIPELINES / instrument / f"{stem}.yaml") for stem in ["Preprocessing", *stems]}
    timed(
        "make central repository",
        lambda: make_central_repository(
            str(folder / "central"), night.camera, simulated_content(night), pipelines=list(paths.values())
        ),
    )
    ApdbSql.init_database(db_url=f"sqlite:///{folder}/apdb.db").save(str(folder / "apdb.yaml"))
    # The tasks read it themselves.
    os.environ["CONFIG_APDB"] = str(folder / "apdb.yaml")
    settings = Settings.load(
        rubin_instrument=instrument,
        skymap=night.sky_map.name,
        central_repo=str(folder / "central"),
        local_repos=str(folder),
        image_bucket="unused",
        kafka_cluster="unused",
        bucket_topic="unused",
        preprocessing_pipelines_config=f"- pipelines: [{paths['Preprocessing']}]",
        main_pipelines_config=f"- pipelines: [{', '.join(paths[stem] for stem in stems)}]",
    )
    repositories = timed("open repositories", lambda: Repositories.open(settings, night.camera))
    for group in night.groups:
        for detector in group["detectors"]:
            visit = announcement(group, detector)
            raws = [
                path
                for path in night.raws
                if (seen := translate(read_header(path), str(path))).detector == detector
                and seen.exposure_id in group["exposures"]
            ]
            print(visit)
            process(Workspace(repositories, settings, visit), raws)
    repositories.close()


def process(workspace: Workspace, raws: list[Path]) -> None:
    timed("preload", workspace.preload)
    timed("preprocessing", workspace.run_preprocessing)
    timed("ingest", lambda: workspace.ingest([ResourcePath(str(path)) for path in raws]))
    start = time.monotonic()
    result = timed("pipeline", workspace.run_pipeline)
    elapsed = time.monotonic() - start
    for label, seconds in result.seconds.items():
        print(f"    {label:26s}{seconds:8.3f} s")
    print(f"    {'(around the tasks)':26s}{elapsed - sum(result.seconds.values()):8.3f} s")
    print(f"    {result.pipeline}")
    print(f"  {timed('export', workspace.export)} datasets")
    timed("clean", workspace.clean)


def announcement(group: dict[str, Any], detector: int) -> FannedOutVisit:
    now = time.time() + 37
    return FannedOutVisit.parse(
        {
            "salIndex": 1,
            "groupId": group["group"],
            "coordinateSystem": 2,
            "position": [group["ra"], group["dec"]],
            "startTime": now,
            "rotationSystem": 2,
            "cameraAngle": group["rotation"],
            "filters": group["physical_filter"],
            "duration": group["duration"],
            "nimages": group["nimages"],
            "instrument": group["instrument"],
            "survey": group["survey"],
            "private_sndStamp": now,
            "detector": detector,
        }
    )


if __name__ == "__main__":
    main()

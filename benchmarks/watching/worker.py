"""A worker of the service whose images are files of a folder: `python -m watching.worker FOLDER`.

The worker is that of the service, with its warm start, and without network: notices and images come from the
folder, and alerts go to a folder as those of `prompt watch` do. Each line of standard input is an
announcement: a raw with the header, and the path at which it will appear. Each line of standard output is an
outcome.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from lsst.dax.apdb.sql import ApdbSql
from lsst.resources import ResourcePath

from prompt_processing.activator.factory import Factory, ProcessContext
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.butler.pipelines.files import pipelines_folder
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.initializer.night import InitializedNights
from prompt_processing.instruments.announcement import announcement_of
from prompt_processing.instruments.header_files import read_detector_headers
from prompt_processing.instruments.headers import translate
from prompt_processing.settings.worker import Settings

_POLL_SECONDS = 0.002
"""Time between two looks for the image: a notice of Kafka arrives as fast."""
_NO_NOTICE = ArrivalNotice(())


class OneImage:
    """Bucket and notices: the image that was announced, as soon as its file appears."""

    connected = True

    def __init__(self) -> None:
        self.path = Path()
        self.exposure = 0

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return a notice once the file is there."""
        end = time.monotonic() + seconds
        while not self.path.exists():
            if time.monotonic() > end:
                return []
            time.sleep(_POLL_SECONDS)
        return [_NO_NOTICE]

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        """Return the image, if it is there."""
        return [self._image()] if self.path.exists() else []

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage:
        """Return the image."""
        return self._image()

    def _image(self) -> ArrivedImage:
        uri = ResourcePath(str(self.path), forceAbsolute=True)
        return ArrivedImage(uri, self.exposure, self.path.stat().st_mtime)


def main(folder: Path, instrument: str, skymap: str) -> None:
    """Process the images that are announced."""
    use_butler_types()
    ApdbSql.init_database(db_url=f"sqlite:///{folder}/apdb.db").save(str(folder / "apdb.yaml"))
    (folder / "local").mkdir()
    pipelines = pipelines_folder(instrument).absolute()
    main_pipelines = ", ".join(str(pipelines / f"{stem}.yaml") for stem in ("ApPipe", "SingleFrame", "Isr"))
    settings = Settings.load(
        rubin_instrument=instrument,
        skymap=skymap,
        central_repo=str(folder / "central"),
        local_repos=str(folder / "local"),
        image_bucket="unused",
        bucket_topic="unused",
        kafka_cluster="unused:9092",
        preprocessing_pipelines_config=f"- pipelines: [{pipelines / 'Preprocessing.yaml'}]",
        main_pipelines_config=f"- pipelines: [{main_pipelines}]",
        config_apdb=str(folder / "apdb.yaml"),
        alert_keep_dir=str(folder / "unsent-alerts"),
        outcome_dir=str(folder / "outcomes"),
    )
    InitializedNights(settings).begin()
    images = OneImage()
    context = ProcessContext(settings, notices=images)
    context.warm()
    repositories = context.repositories()
    repositories.connections = replace(
        repositories.connections, alert_stream=replace(settings.alert_stream, folder=folder / "alerts")
    )
    process = Factory(context).process_visit(WaitForSnaps(images, images, 60.0))
    print("ready", flush=True)
    for line in sys.stdin:
        announced, arriving = map(Path, json.loads(line))
        (header,) = read_detector_headers(announced).values()
        observation = translate(header, str(announced))
        images.path, images.exposure = arriving, observation.exposure_id
        outcome = process.process(announcement_of(observation, time.time()))
        print(json.dumps(outcome.as_dict()), flush=True)
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

"""Stand-ins that come with the Python packages: the embedded broker, moto, SQLite."""

from __future__ import annotations

from typing import Self

from prompt_processing.transport.s3 import make_s3_client

from .processes import Processes
from .surroundings import ALERT_TOPIC, NEXT_VISIT_TOPIC, Companions, Folders, RepositoryPlace

__all__ = ["IMAGE_BUCKET", "USERS_BUCKET", "EmbeddedServices"]

IMAGE_BUCKET = "rubin-pp-dev"
USERS_BUCKET = "rubin-pp-dev-users"
_BUCKET_TOPIC = "prompt-processing-dev"


class EmbeddedServices:
    """Stand-ins for Kafka and S3 in processes of the demo; SQLite databases."""

    @property
    def description(self) -> str:
        """The step's name in the demo's output."""
        return "Starting Kafka and S3, making an APDB"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: the stand-ins end with the demo's other processes."""

    def start(self, processes: Processes, folders: Folders) -> dict[str, str]:
        """Start them; see `~prompt_processing.demo.surroundings.Surroundings.start`."""
        kafka = processes.start(
            "kafka",
            [
                "python",
                "-m",
                "prompt_processing.embedded_broker",
                f"--folder={folders.work / 'kafka'}",
                NEXT_VISIT_TOPIC,
                _BUCKET_TOPIC,
                ALERT_TOPIC,
            ],
            reports_ready=True,
        )
        store = processes.start(
            "s3", ["python", "-m", "prompt_processing.demo.object_store"], reports_ready=True
        )
        apdb = processes.start(
            "apdb",
            [
                "prompt",
                "apdb",
                "create",
                "--development",
                # Workers wait for each other's writes (s): SQLite has one writer at a time.
                f"sqlite:///{folders.work / 'apdb.db'}?timeout=60",
                str(folders.work / "apdb.yaml"),
            ],
        )
        broker, endpoint = kafka.wait_ready(30), store.wait_ready(60)
        client = make_s3_client(endpoint)
        for bucket in (IMAGE_BUCKET, USERS_BUCKET):
            client.create_bucket(Bucket=bucket)
        if apdb.wait(120) != 0:
            apdb.check()
        return {
            "KAFKA_CLUSTER": broker,
            "NEXT_VISIT_TOPIC": NEXT_VISIT_TOPIC,
            "BUCKET_TOPIC": _BUCKET_TOPIC,
            "PUBLISH_BUCKET_NOTICES": "1",
            "S3_ENDPOINT_URL": endpoint,
            "IMAGE_BUCKET": IMAGE_BUCKET,
            "USERS_BUCKET": USERS_BUCKET,
            "CONFIG_APDB": str(folders.work / "apdb.yaml"),
            "AP_KAFKA_SERVER": broker,
            "AP_KAFKA_TOPIC": ALERT_TOPIC,
        }

    def repository_place(self, folders: Folders) -> RepositoryPlace:
        """Return a folder with SQLite, and the users' bucket for the datasets."""
        root = folders.work / "central_repo"
        return RepositoryPlace(
            str(root), f"sqlite:///{root / 'gen3.sqlite3'}", f"s3://{USERS_BUCKET}/central_repo/"
        )

    def start_companions(
        self, processes: Processes, folders: Folders, central_repository: str, instrument: str
    ) -> Companions:
        """Start nothing: workers access the repository and the bucket directly."""
        return Companions()

    def await_outputs(self) -> None:
        """Do nothing: a worker exports its outputs before it reports the outcome."""

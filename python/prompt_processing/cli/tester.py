"""``prompt tester``: play the telescope."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, option
from .options import INSTRUMENT, log_to_stderr

if TYPE_CHECKING:
    from prompt_processing.tester.settings import TesterOptions

_SETTINGS = "prompt_processing.tester.settings:EventStreamSettings"
_STORE = (
    "The S3 store is at S3_ENDPOINT_URL (default: AWS), with credentials as boto3 reads them "
    "(AWS_PROFILE, AWS_ACCESS_KEY_ID, ...). LSST_DISABLE_BUCKET_VALIDATION=1 allows bucket names such as "
    "tenant:bucket."
)
_STATUSES = {1: "the store, the event stream or a raw is unusable"}
_TELESCOPE = "The telescope"

_IMAGE_BUCKET = option(
    "--image-bucket",
    envvar="IMAGE_BUCKET",
    default="rubin-pp-dev",
    show_default=True,
    show_envvar=True,
    section=_TELESCOPE,
    help="Bucket in which raws arrive.",
)
_USERS_BUCKET = option(
    "--users-bucket",
    envvar="USERS_BUCKET",
    default="rubin-pp-dev-users",
    show_default=True,
    show_envvar=True,
    help="Bucket of the pool.",
)
_TELESCOPE_OPTIONS = (
    _IMAGE_BUCKET,
    option(
        "--survey",
        default="SURVEY",
        show_default=True,
        section=_TELESCOPE,
        help="Survey announced with each visit.",
    ),
    option(
        "--slew",
        type=click.FloatRange(min=0),
        default=2.0,
        show_default=True,
        section=_TELESCOPE,
        help="Seconds from the announcement to the opening of the shutter.",
    ),
    option(
        "--exposure",
        type=click.FloatRange(min=0),
        default=18.0,
        show_default=True,
        section=_TELESCOPE,
        help="Seconds from the opening of the shutter to the image's arrival, for each snap.",
    ),
    option(
        "--publish-notices",
        is_flag=True,
        envvar="PUBLISH_BUCKET_NOTICES",
        show_envvar=True,
        section=_TELESCOPE,
        help="Publish arrival notices too, for stores that publish none, such as moto.",
    ),
)


def _with_telescope(command: Callable[..., int]) -> Callable[..., int]:
    for one in reversed(_TELESCOPE_OPTIONS):
        command = one(command)
    return command


@click.command(
    cls=Command,
    settings=_SETTINGS,
    settings_note=_STORE,
    examples="""
    prompt tester upload LATISS 3             # three visits: 2 s of slew and 18 s of exposure each
    prompt tester upload HSC 2 --seed 1       # two random visits, the same in each run
    prompt tester upload LSSTCam 1 --slew 0 --exposure 1 --publish-notices
    """,
    statuses=_STATUSES,
)
@click.argument(
    "instrument",
    type=INSTRUMENT,
    metavar="INSTRUMENT",
    help="Camera, such as HSC, LATISS or LSSTCam.",
)
@click.argument("n_groups", type=click.IntRange(min=1), metavar="N_GROUPS", help="How many visits.")
@_USERS_BUCKET
@option(
    "--seed", type=int, help="Draw visits at random, repeatably.  [default: in the order of their exposures]"
)
@option(
    "--pause",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds between the end of a visit and the announcement of the next.",
)
@option("--step", is_flag=True, help="Announce each visit only when a line comes on standard input.")
@option(
    "--manifest",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append a line of JSON for each raw to this file: the original and the uploaded name.",
)
@_with_telescope
def upload(
    instrument: str,
    n_groups: int,
    users_bucket: str,
    seed: int | None,
    pause: float,
    step: bool,
    manifest: Path | None,
    **telescope: Any,
) -> int:
    """Play the telescope: announce visits on Kafka and upload their raws to the image bucket.

    Each visit comes from the pool under unobserved/<INSTRUMENT>/ in the users' bucket. It receives a new
    group and a new exposure id in the header, the key and the sidecar, so that raws can be reused. The visit
    is announced, the telescope slews and exposes, and each snap is uploaded, sidecars first.
    """
    options = _options(telescope)
    with _failures():
        from prompt_processing.tester.upload import PoolUpload, upload_pool

        upload_pool(PoolUpload(instrument, n_groups, users_bucket, seed, pause, step, manifest), options)
    return 0


@click.command(
    cls=Command,
    settings=_SETTINGS,
    settings_note=_STORE,
    examples="""
    prompt tester upload-hsc-rc2 3               # three random visits
    prompt tester upload-hsc-rc2 10 --ordered    # ten random visits, in the order they were taken
    prompt tester upload-hsc-rc2 1 --repo s3://bucket/repo --collection HSC/raw/all
    """,
    statuses=_STATUSES,
)
@click.argument("n_groups", type=click.IntRange(min=1), metavar="N_GROUPS", help="How many visits.")
@option(
    "--repo",
    envvar="RC2_REPO",
    default="/repo/main",
    show_default=True,
    show_envvar=True,
    help="The repository.",
)
@option("--collection", default="HSC/RC2/defaults", show_default=True, help="Collection of the raws.")
@option("--ordered", is_flag=True, help="Upload visits in the order they were taken.")
@option("--seed", type=int, help="Draw the same visits in every run.")
@option(
    "--processes",
    type=click.IntRange(min=1),
    default=min(8, os.cpu_count() or 1),
    show_default="one per core, up to 8",
    help="Number of processes that work on a visit.",
)
@_with_telescope
def upload_hsc_rc2(
    n_groups: int,
    repo: str,
    collection: str,
    ordered: bool,
    seed: int | None,
    processes: int,
    **telescope: Any,
) -> int:
    """Play the telescope with HSC visits from a Butler repository, each with all its detectors.

    Visits are drawn at random from a collection and receive new groups and exposure ids. Each is announced,
    the telescope slews and exposes, and all detectors are uploaded, several at once.
    """
    options = _options(telescope)
    with _failures():
        from prompt_processing.tester.upload_hsc_rc2 import RepositoryUpload, upload_repository

        upload_repository(RepositoryUpload(n_groups, repo, collection, seed, ordered, processes), options)
    return 0


@click.command(
    cls=Command,
    settings_note=_STORE,
    examples="""
    prompt simulate --small --instrument HSC night
    prompt tester fill-pool --make-buckets night/unobserved
    """,
    statuses=_STATUSES,
)
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with each raw under its key in the image bucket, <INSTRUMENT>/...",
)
@_USERS_BUCKET
@_IMAGE_BUCKET
@option("--make-buckets", is_flag=True, help="Create the buckets first if they are missing.")
def fill_pool(folder: Path, users_bucket: str, image_bucket: str, make_buckets: bool) -> int:
    """Upload raws and their sidecars to the pool that prompt tester upload draws from."""
    _log()
    with _failures():
        from prompt_processing.tester.fill_pool import fill_pool as fill
        from prompt_processing.transport.s3 import split_bucket

        number = fill(folder, users_bucket, {users_bucket, image_bucket} if make_buckets else ())
    click.echo(f"{number} raws are in s3://{split_bucket(users_bucket)[1]}/unobserved/")
    return 0


def _options(telescope: dict[str, Any]) -> TesterOptions:
    from prompt_processing.settings.environment import SettingsError
    from prompt_processing.tester.settings import EventStreamSettings, TesterOptions
    from prompt_processing.tester.visit import Schedule

    try:
        EventStreamSettings.load()
    except SettingsError as error:
        raise click.UsageError(f"The settings are unusable: {'; '.join(str(error).splitlines())}") from error
    _log()
    return TesterOptions(
        telescope["image_bucket"],
        telescope["survey"],
        Schedule(telescope["slew"], telescope["exposure"]),
        telescope["publish_notices"],
    )


def _log() -> None:
    log_to_stderr(logging.INFO, "%(asctime)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)


@contextmanager
def _failures() -> Iterator[None]:
    """Report a failure of an outside system in one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    from prompt_processing.instruments.errors import RawError
    from prompt_processing.tester.fill_pool import NoRawsError
    from prompt_processing.tester.pool import PoolError
    from prompt_processing.tester.publish import PublishError
    from prompt_processing.tester.upload_hsc_rc2 import NoVisitsError
    from prompt_processing.transport.s3 import UnknownProfileError
    from prompt_processing.transport.schema_registry import SchemaRegistryError

    try:
        yield
    except (
        NoRawsError,
        NoVisitsError,
        PoolError,
        PublishError,
        SchemaRegistryError,
        RawError,
        FileNotFoundError,
        UnknownProfileError,
    ) as error:
        raise click.ClickException(str(error)) from error
    except (BotoCoreError, ClientError) as error:
        raise click.ClickException(f"The S3 store failed: {error}") from error

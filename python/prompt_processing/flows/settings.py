"""Settings of flows: where the work is done, and where its records go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr

from prompt_processing.settings.environment import EnvironmentSettings

from .place import Place

__all__ = ["FlowSettings"]


class FlowSettings(EnvironmentSettings):
    """Settings of flows. Options of the command line win."""

    wm_dask_scheduler: str = ""
    """Address of a Dask scheduler that does the work, such as ``tcp://dask:8786``."""
    wm_local: bool = False
    """Whether a Dask cluster of this machine's processes does the work, where there is no scheduler."""
    wm_run_config_type: Literal["local", "docker", "kubernetes"] = "local"
    """Kind of Prefect work pool that deployments run in: as processes, containers or Kubernetes jobs."""
    wm_data_pipeline_image: str = ""
    """Image of the containers of a ``docker`` or ``kubernetes`` pool."""
    wm_dest_type: Literal["file", "s3"] = "file"
    """Where records of runs, reports and exports go: a folder, or a bucket."""
    wm_dest_folder: Path = Path("prompt-flows")
    """The folder, with ``WM_DEST_TYPE=file``."""
    wm_s3_dest_bucket: str = ""
    """The bucket, optionally with a prefix and a profile, with ``WM_DEST_TYPE=s3``."""
    wm_s3_dest_url: str = ""
    """Endpoint of the bucket's store; ``S3_ENDPOINT_URL`` by default."""
    s3_endpoint_url: str = ""
    """URL of the S3 store; AWS by default."""
    wm_s3_dest_region: str = ""
    """Region of the bucket's store."""
    wm_s3_dest_key: SecretStr | None = None
    """Access key of the bucket's store; by default boto3 finds the credentials."""
    wm_s3_dest_secret: SecretStr | None = None
    """Secret key of the bucket's store."""
    flow_work: Path = Path("prompt-flows")
    """Folder in which flows keep what their next runs need."""
    flow_processes: int = Field(default=1, ge=1)
    """Number of processes of this machine, without a Dask scheduler."""

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check that a destination in a bucket is named; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        if values.get("wm_dest_type") == "s3" and not values.get("wm_s3_dest_bucket"):
            yield "wm_s3_dest_bucket", "not set, but WM_DEST_TYPE=s3 is"

    @property
    def place(self) -> Place:
        """Where the work is done."""
        if self.wm_dask_scheduler:
            address = self.wm_dask_scheduler
            return Place(address if "://" in address else f"tcp://{address}")
        processes = self.flow_processes
        if self.wm_local and processes == 1:
            processes = min(4, os.cpu_count() or 1)
            # One process is this one: a cluster of one has nothing for it.
            processes = max(2, processes)
        return Place(processes=processes)

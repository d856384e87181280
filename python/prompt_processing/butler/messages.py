"""What workers, the Butler writer and those who publish its work tell each other over Kafka.

The form of these messages is fixed by the services of the Rubin Observatory that read and write them.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from lsst.daf.butler import SerializedDatasetType, SerializedDimensionRecord, SerializedFileDataset
from pydantic import BaseModel, Field

__all__ = ["BatchIngested", "DatasetBatch", "VisitOutputs"]


class VisitOutputs(BaseModel):
    """A worker has copied the outputs of a visit to their places in the central datastore.

    Attributes
    ----------
    type : `str`
        Kind of the message.
    dimension_records : `list`
        Records that the outputs need; those that are there already win.
    datasets : `list`
        Outputs, with paths relative to the datastore's root.
    dataset_types : `list`
        Their types, in case the repository does not have them.
    """

    type: Literal["pp-output"] = "pp-output"
    dimension_records: list[SerializedDimensionRecord]
    datasets: list[SerializedFileDataset]
    dataset_types: list[SerializedDatasetType] = Field(default_factory=list)


class DatasetBatch(BaseModel):
    """Content of a file that lists what was entered together.

    Attributes
    ----------
    batch_id : `uuid.UUID`
        As in the event.
    datasets : `list` [`uuid.UUID`]
        Dataset ids.
    """

    batch_id: UUID
    datasets: list[UUID]


class BatchIngested(BaseModel):
    """The outputs of several visits are in the central repository.

    Attributes
    ----------
    type : `str`
        Kind of the message.
    batch_id : `uuid.UUID`
        Of this batch.
    origin : `str`
        Service that the datasets come from.
    batch_file : `str`
        Name of the file of a `DatasetBatch`, in the directory that both sides know.
    """

    type: Literal["batch-ingested"] = "batch-ingested"
    batch_id: UUID
    origin: str = "prompt_processing"
    batch_file: str

"""Kafka messages between workers, the Butler writer and the publisher of its datasets.

Services of the Rubin Observatory read and write these messages, which fixes their form.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from lsst.daf.butler import SerializedDatasetType, SerializedDimensionRecord, SerializedFileDataset
from pydantic import BaseModel, Field

__all__ = ["BatchIngested", "DatasetBatch", "VisitOutputs"]


class VisitOutputs(BaseModel):
    """A worker has copied the outputs of a visit to the central datastore.

    Attributes
    ----------
    type : `str`
        Kind of the message.
    dimension_records : `list`
        Records that the outputs need; existing records take precedence.
    datasets : `list`
        Outputs, with paths relative to the datastore's root.
    dataset_types : `list`
        Types of the outputs, in case the repository does not have them.
    """

    type: Literal["pp-output"] = "pp-output"
    dimension_records: list[SerializedDimensionRecord]
    datasets: list[SerializedFileDataset]
    dataset_types: list[SerializedDatasetType] = Field(default_factory=list)


class DatasetBatch(BaseModel):
    """Content of a file that lists the datasets of one batch.

    Attributes
    ----------
    batch_id : `uuid.UUID`
        Id of the batch, as in the event.
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
        Id of this batch.
    origin : `str`
        Service that the datasets come from.
    batch_file : `str`
        Name of a `DatasetBatch` file, in the directory that both sides are configured with.
    """

    type: Literal["batch-ingested"] = "batch-ingested"
    batch_id: UUID
    origin: str = "prompt_processing"
    batch_file: str

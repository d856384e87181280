"""Send outputs as the reference worker does: its own code, on a small local repository.

Usage: send_outputs.py PYTHON_FOLDER LOCAL_REPOSITORY CENTRAL_REPOSITORY
The environment has KAFKA_CLUSTER, KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_TOPIC. The ids of the datasets are
printed as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

from confluent_kafka import Producer
from lsst.daf.butler import Butler, DatasetType
from stand_ins import stand_in

folder, local, central = sys.argv[1:]
sys.path.insert(0, folder)
stand_in("activator.activator")


class ButlerWriter:
    """Base class, of a module that needs the whole stack."""


sys.modules["activator.middleware_interface"] = SimpleNamespace(  # type: ignore[assignment]
    ButlerWriter=ButlerWriter, GroupedDimensionRecords=dict
)
from activator.kafka_butler_writer import KafkaButlerWriter  # noqa: E402

Butler.makeRepo(local)
butler = Butler.from_config(local, writeable=True, run="LSSTCam/prompt/output-2026-01-01/ApPipe/theirs")
with Butler.from_config(central) as other:
    instrument = other.query_dimension_records("instrument", instrument="LSSTCam")
    detectors = other.query_dimension_records("detector", instrument="LSSTCam")
for element, records in (("instrument", instrument), ("detector", detectors)):
    butler.registry.insertDimensionData(element, *records)
group = butler.dimensions["group"].RecordClass(instrument="LSSTCam", name="theirs")
butler.registry.insertDimensionData("group", group)
refs = []
for name, storage_class, value in (
    ("regionTimeInfo", "StructuredDataDict", {"a": 1}),
    ("promptPreload_metrics", "StructuredDataDict", {"b": 2}),
):
    kind = DatasetType(name, ("instrument", "group", "detector"), storage_class, universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    for detector in sorted(record.id for record in detectors):
        refs.append(butler.put(value, kind, instrument="LSSTCam", group="theirs", detector=detector))
producer = Producer(
    {
        "bootstrap.servers": os.environ["KAFKA_CLUSTER"],
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": os.environ["KAFKA_USERNAME"],
        "sasl.password": os.environ["KAFKA_PASSWORD"],
    }
)
writer = KafkaButlerWriter(producer, output_topic=os.environ["KAFKA_TOPIC"], output_repo=central)
writer.transfer_outputs(butler, {"group": [group]}, [ref.expanded(ref.dataId) for ref in refs])
print(json.dumps([str(ref.id) for ref in refs]))

"""What PostgreSQL refuses and SQLite does not: text that is longer than its column."""

import pytest
from lsst.dax.apdb.apdbSchema import ApdbSchema, ApdbTables

from prompt_processing.apdb.tables import DEFAULT_SCHEMA
from prompt_processing.imaging.measurement.reliability import LONGEST_VERSION, ReliabilityModel

TEXTS = {"reliabilityVersion": LONGEST_VERSION * "v", "band": "y"}


@pytest.mark.parametrize(
    "table", [ApdbTables.DiaObject, ApdbTables.DiaSource, ApdbTables.DiaForcedSource], ids=str
)
def test_text_fits_its_column(table: ApdbTables) -> None:
    columns = ApdbSchema(DEFAULT_SCHEMA, "").tableSchemas[table].columns
    limited = {column.name: column.length for column in columns if column.length}
    assert limited.keys() <= TEXTS.keys()
    for name, length in limited.items():
        assert len(TEXTS[name]) <= length


def test_packaged_model_has_a_version_that_fits() -> None:
    assert 0 < len(ReliabilityModel.load().version) <= LONGEST_VERSION

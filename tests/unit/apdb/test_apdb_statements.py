"""A process does not grow with each write to the APDB."""

import sqlalchemy
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.apdb.internals import sql_engine
from prompt_processing.apdb.preloaded_catalogs import open_apdb


def test_statements_of_earlier_visits_are_forgotten(tmp_path) -> None:
    config = ApdbSql.init_database(db_url=f"sqlite:///{tmp_path}/apdb.db")
    config.save(str(tmp_path / "apdb.yaml"))
    apdb = open_apdb(str(tmp_path / "apdb.yaml"))
    assert isinstance(apdb, ApdbSql)
    engine = sql_engine(apdb)
    with engine.connect() as connection:
        for _ in range(100):
            # Like pandas, with a description of its own.
            table = sqlalchemy.Table(
                "DiaObject", sqlalchemy.MetaData(), sqlalchemy.Column("diaObjectId", sqlalchemy.BigInteger)
            )
            connection.execute(sqlalchemy.select(table))
    cache = engine.get_execution_options()["compiled_cache"]
    assert 0 < len(cache) <= 36
    engine.dispose()

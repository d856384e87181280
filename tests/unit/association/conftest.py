"""The field of sources that these tests share."""

from dia_field import apdb, apdb_config, dia_field

__all__ = ["apdb", "apdb_config", "dia_field"]

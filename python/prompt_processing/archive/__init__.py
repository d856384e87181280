"""Keep what a night has found: tables as Parquet, catalogues as HATS, alerts as Avro files."""

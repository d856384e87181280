"""Reference catalogues: from downloaded tables to shards of a repository."""

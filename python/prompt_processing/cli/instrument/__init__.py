"""``prompt instrument``: list, describe and check instruments."""

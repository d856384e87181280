"""Header translators, in terms of astro_metadata_translator."""

"""Pipeline tasks: connections, configuration and one call each into `prompt_processing.imaging`."""

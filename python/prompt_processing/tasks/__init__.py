"""Pipeline tasks: connections, configuration and one call each into `prompt_processing.alert_production`."""

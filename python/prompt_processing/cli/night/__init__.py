"""Commands of the services that run at night."""

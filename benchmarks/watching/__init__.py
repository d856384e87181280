"""Compare `prompt watch` with a worker of the service."""

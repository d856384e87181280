"""A simulated night from one command: services, processing, score, tables and pictures."""

"""The nightly job that writes init-outputs and output runs."""

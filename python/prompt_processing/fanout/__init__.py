"""The fan-out: one announcement of the telescope becomes one message for each active detector."""

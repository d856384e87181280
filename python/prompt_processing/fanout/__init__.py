"""The fan-out: it turns one announcement of the telescope into one message per active detector."""

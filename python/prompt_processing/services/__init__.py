"""Real servers on this machine, for tests, benchmarks and the demo."""

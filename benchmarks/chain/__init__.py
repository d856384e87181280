"""Our chain and the classic one on the same simulated pairs."""

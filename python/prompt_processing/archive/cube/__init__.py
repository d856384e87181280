"""Statistics of nights by cell of the sky and band, which add up to lunations, months, seasons and years."""

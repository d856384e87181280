"""Commission an instrument: draft its description from real frames, and check the description with them."""

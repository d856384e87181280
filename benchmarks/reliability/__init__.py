"""Training and judging the reliability model."""

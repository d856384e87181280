"""Properties of a detector, from its raw bias, dark and flat frames."""

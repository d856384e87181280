"""Plain data and rules of a visit, without any I/O."""

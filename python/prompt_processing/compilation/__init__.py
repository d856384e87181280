"""Ahead-of-time compilation of the numerics, so that no visit waits for the compiler."""

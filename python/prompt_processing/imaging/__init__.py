"""The numerics of alert production: arrays in, arrays out; no Butler, no files, no services."""

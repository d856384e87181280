"""The numerics of alert production: arrays in, arrays out, no Butler."""

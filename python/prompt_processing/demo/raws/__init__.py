"""The way of a camera without description, from its raw frames to alerts, by the package's commands."""

"""The way of a camera that nobody has described, from its raw frames to alerts, by the package's commands."""

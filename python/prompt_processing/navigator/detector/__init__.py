"""Images of a visit's detector: science, template and difference, to the pixel."""

"""What frames have that no mask or header declares: bad lines, patterns, noise that is hidden."""

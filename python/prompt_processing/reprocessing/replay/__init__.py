"""Send a night's messages again: what is sent when, and to where."""

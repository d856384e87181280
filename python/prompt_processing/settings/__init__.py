"""How every process reads its settings, and how it runs until it is asked to stop."""

"""A night from one command: embedded services, the run, the table and the pictures."""

"""Read the settings of processes, and run services until they are asked to stop."""

"""Sources, objects and alerts: search, light curves, cutouts and packets."""

"""The simulated sky, telescope and camera, with the truth beside each raw."""

"""The navigator: pages that show nights, visits, images, objects and plots in a browser."""

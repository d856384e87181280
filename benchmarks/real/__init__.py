"""Pairs of real images, and what is known of them."""

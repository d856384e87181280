"""Make, fill and maintain a central Butler repository."""

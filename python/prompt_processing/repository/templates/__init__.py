"""Templates from the images of visits."""

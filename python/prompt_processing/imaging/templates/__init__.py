"""Template coadds on the pixels of a science image."""

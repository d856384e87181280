"""From electrons to a calibrated image: background, PSF, astrometry, photometry, star catalogue."""

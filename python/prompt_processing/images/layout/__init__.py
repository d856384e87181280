"""Files in the layout of ``lsst-images``, which any stack reads without this package."""

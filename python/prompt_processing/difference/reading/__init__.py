"""An image, its planes, its PSF and its sky coordinates, from files of any program."""

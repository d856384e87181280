"""Image subtraction: PSF matching, decorrelation, variance and residuals."""

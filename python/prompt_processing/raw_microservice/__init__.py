"""A service that reports arrived raws to all workers, so that they do not each list the bucket."""

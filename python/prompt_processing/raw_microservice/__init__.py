"""Which raws have arrived: one service that answers for all workers, instead of each listing the bucket."""

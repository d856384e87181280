"""Split a `next_visit` into one message a detector and deliver them."""

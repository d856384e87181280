"""Alert packets: building, keeping, sending and resending them."""

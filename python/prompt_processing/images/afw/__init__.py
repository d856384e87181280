"""Read files that the Rubin stack's ``afw`` and ``ip_isr`` wrote; nothing here writes them."""

"""What one visit-detector costs, step by step, beside its budget."""

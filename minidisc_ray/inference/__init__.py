"""A finished model at work: predictions, sizes, latency."""

"""Device-hours: the ledger that records what is held, its heartbeat, and sums over it."""

"""Device-hours: the meter that feeds them, the ledger that keeps them, the sums."""

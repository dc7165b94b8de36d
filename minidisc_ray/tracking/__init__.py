"""Reports results to other trackers; never stops a run."""

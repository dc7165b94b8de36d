"""What a study shows: its table, its findings, its page."""

"""What one run shows: its plan, its estimate, its page."""

"""A recipe becomes a checked run: its plan, sizes, identity and closed-form cost. Starts nothing."""

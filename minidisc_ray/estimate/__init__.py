"""Cost predicted from timed steps."""

"""Recommended configurations: their table and their recipes."""

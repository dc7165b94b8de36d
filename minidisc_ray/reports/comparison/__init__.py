"""Comparison of finished runs in one table."""

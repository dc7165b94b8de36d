"""Finished runs beside each other, as one table."""

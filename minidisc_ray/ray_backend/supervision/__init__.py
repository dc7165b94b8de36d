"""Supervises worker processes: what they hold, whether they are alive, and how they end."""

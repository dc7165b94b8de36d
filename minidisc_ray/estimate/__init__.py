"""Predicts the cost of whole runs from a few timed steps."""

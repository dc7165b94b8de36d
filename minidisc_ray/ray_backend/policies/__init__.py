"""Decisions, tested without a cluster."""

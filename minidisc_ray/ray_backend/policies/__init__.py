"""Decisions, without a cluster: which trial is next, when one is retried, how many fit, which sweep may start."""

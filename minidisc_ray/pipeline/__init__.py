"""Executes a plan, stage by stage, resumably."""

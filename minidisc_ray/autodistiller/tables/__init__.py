"""The table of observations: what a row is, and reading and writing it."""

"""Whether what was started is still alive, and what it holds."""

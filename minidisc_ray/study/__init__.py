"""Statistics over many runs; renders nothing."""

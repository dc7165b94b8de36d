"""From results to tables and the HTML page."""

"""Reports of one run: plan, estimate, tables and page."""

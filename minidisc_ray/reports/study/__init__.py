"""Reports of a study: table, findings and page."""

"""Templates and writing of HTML pages."""

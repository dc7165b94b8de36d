"""One kind of step a file; files that begin with an underscore hold what several of them share."""

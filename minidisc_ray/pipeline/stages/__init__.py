"""One file for each kind of step; files that begin with an underscore hold what several of them share."""

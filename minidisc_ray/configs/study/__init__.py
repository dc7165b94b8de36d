"""Study files: methods x tasks x scales x seeds, and the recipe of each run."""

"""Features of a data set (Distiller, table 2)."""

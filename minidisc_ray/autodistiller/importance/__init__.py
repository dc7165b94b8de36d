"""How much each component of a pipeline explains (Distiller, section 4.1)."""

"""How much each component of a distillation explains, as a table and a figure."""

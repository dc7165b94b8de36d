"""Schema, reading and writing of each file that a run leaves; decides nothing."""

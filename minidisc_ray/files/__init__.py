"""Reads and writes the files of runs, in a folder or a bucket: whole or not at all, sealed, with retries."""

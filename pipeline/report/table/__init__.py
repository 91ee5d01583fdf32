"""The table: runs of every method, their results, and the files they are written to."""

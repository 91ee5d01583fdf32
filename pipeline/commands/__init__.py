"""What each command does, in Python: same names and defaults as the flags, results as objects, nothing printed."""

"""Writing, reading and verifying feature caches."""

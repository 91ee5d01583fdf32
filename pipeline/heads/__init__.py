"""Few-shot heads: one method, one file."""

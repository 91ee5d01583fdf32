"""Data sets and split lists, and the decoding of clips into frames."""

"""The single-file form of a store: read, written, and taken over from other tools."""

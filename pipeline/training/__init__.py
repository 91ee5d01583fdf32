"""Training of heads: the loop, what it is asked to do, and what it keeps."""

"""Clips that ta2n renders itself, so that everything can be tried without a data set."""

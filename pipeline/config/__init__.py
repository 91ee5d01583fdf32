"""What a run is asked to do, by protocol and recipe."""

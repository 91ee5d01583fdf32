"""The on-disk contract of a feature cache: layout, manifest and errors. Needs numpy and zarr only."""

"""The on-disk contract of a feature cache: layout, manifest and errors. Needs numpy, zarr, xxhash and filelock only."""

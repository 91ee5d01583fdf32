"""The rows of the paper's table: one TOML file each, read in the order of their names."""

"""Which clips there are: of a folder, or of a published split."""

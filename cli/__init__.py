"""The ``ta2n`` command."""

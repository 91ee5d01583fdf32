"""``ta2n demo``."""


def demo() -> None:
    """Render clips, extract, train and evaluate, end to end."""

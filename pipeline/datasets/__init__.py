"""Which clips there are: of a folder, or of a published split.

One entry: :func:`resolve` takes the name of a data set or a folder and gives its rows.
"""

from ta2n.pipeline.datasets.resolve import Resolved, resolve

__all__ = ["Resolved", "resolve"]

"""ta2n: few-shot action recognition from cached features.

The package is three folders: ``ta2n.cache_schema`` (what is on disk), ``ta2n.pipeline`` (what is computed) and
``ta2n.cli`` (what is typed). Nothing is imported here, so that ``import ta2n`` costs nothing.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]

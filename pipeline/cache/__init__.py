"""Writing, reading and verifying feature caches."""

from ta2n.pipeline.cache.reader import FeatureCache

__all__ = ["FeatureCache"]

"""Writing, reading and verifying feature caches."""

from ta2n.pipeline.cache.reader import FeatureCache, find_store

__all__ = ["FeatureCache", "find_store"]

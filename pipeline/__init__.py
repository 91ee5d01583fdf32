"""The stages, in the order data flows: videos, clips, features, cache, episodes, heads, metrics, train, evaluate."""

"""Which clips meet: episodes as a function of labels, seed and index, and lists of them in files."""

from ta2n.pipeline.episodes.sampling import Episode, Episodes, EpisodeSequence, Labels, group_rows, sample_episode

__all__ = ["Episode", "EpisodeSequence", "Episodes", "Labels", "group_rows", "sample_episode"]

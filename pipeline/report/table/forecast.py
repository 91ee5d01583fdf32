"""What a table will cost before it is made: from shapes and one measured rate, so right to a factor of two or three."""

import time
from dataclasses import dataclass

import torch

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.costs import count_embed_macs, count_macs
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.report.table.episodes import TestEpisodes
from ta2n.pipeline.training.settings import Settings

# Heads reach about a third of the rate of one large product, and a backward pass takes about two forward passes.
_SHARE_OF_RATE, _PASSES = 1 / 3, 3
# What reading a float16 map into float32 passes a second, about, on one core.
_BYTES_PER_SECOND = 5e8
_FLOAT32 = 4


@dataclass(frozen=True)
class Forecast:
    """Seconds, and bytes on disk, of one run: training to its last epoch, validation, test and two checkpoints."""

    seconds: float
    bytes: int


def forecast_run(cache: FeatureCache, settings: Settings, test: TestEpisodes, *, rate: float) -> Forecast:
    """Estimates a run that never stops early.

    Args:
        cache: the store.
        settings: the run.
        test: its test episodes.
        rate: multiply-accumulates a second, from :func:`product_rate`.
    """
    channels, _, size, _ = cache.map_shape
    frames = settings.frames
    head = build_head(settings.method, channels=channels, frames=frames, size=size, **settings.options)
    way, shot, shape = settings.way, settings.shot, (channels, frames, size, size)
    clips = way * (shot + settings.queries)
    embed = count_embed_macs(head, torch.Size((1, *shape)), shot=shot)
    macs = count_macs(head, torch.Size((way * shot, *shape)), torch.Size((way * settings.queries, *shape)), shot=shot)
    train = settings.epochs * settings.episodes_per_epoch
    # Evaluation does the work of a video once; its episodes need what is left, in the ratio of their queries.
    videos = [int((cache.labels(split) >= 0).sum()) for split in ("val", "test")]
    embeddings = videos[0] * (settings.epochs + 1) + videos[1]
    compared = test.episodes * test.queries / settings.queries + (settings.epochs + 1) * settings.val_episodes
    work = _PASSES * train * macs + embeddings * embed + compared * max(0, macs - clips * embed)
    read = (train * clips + embeddings) * channels * frames * size * size * 2 / _BYTES_PER_SECOND
    parameters = sum(parameter.numel() for parameter in head.parameters())
    states = 4 if settings.optimizer == "adam" else 2
    return Forecast(work / (rate * _SHARE_OF_RATE) + read, parameters * _FLOAT32 * states)


def product_rate(device: torch.device) -> float:
    """Multiply-accumulates a second of a square float32 product, best of five."""
    matrix = torch.rand(1024, 1024, device=device)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return float(1024**3 / best)

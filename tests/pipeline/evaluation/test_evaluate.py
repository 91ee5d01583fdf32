"""Evaluation: whatever is shared between episodes, the numbers are those of one episode at a time."""

from collections.abc import Iterator

import numpy as np
import pytest
import tiny_cache
import torch
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episode, Episodes
from ta2n.pipeline.evaluation.evaluate import accuracy, evaluate
from ta2n.pipeline.evaluation.strategy import Asked, Strategy, asked_for, strategy
from ta2n.pipeline.heads import Embedding, Head, build_head

CPU = torch.device("cpu")
SHAPE = (6, 4, 7, 7)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> MapLoader:
    path = tiny_cache.write_cache(tmp_path_factory.mktemp("c"), map_shape=SHAPE, signal=0.5, failed=(100,))
    return MapLoader(FeatureCache.open(path), frames=4, device=CPU)


def head_of(method: str) -> Head:
    if method == "ta2n":
        return build_head("ta2n", channels=6, frames=4, size=7, seed=2, init="random")
    return build_head(method, channels=6, frames=4, size=7)


def episodes_of(loader: MapLoader, shot: int) -> Episodes:
    return Episodes(loader.cache.labels("test"), way=4, shot=shot, queries=2, seed=3)


@pytest.mark.parametrize("method", ["protonet", "ta2n"])
@pytest.mark.parametrize("shot", [1, 3])
def test_sharing_work_changes_no_episode(
    loader: MapLoader, method: str, shot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, episodes = head_of(method), episodes_of(loader, shot)
    shared = evaluate(head, loader, episodes, 30)
    spilled = evaluate(head, loader, episodes, 30, memory_bytes=0)
    monkeypatch.setattr("ta2n.pipeline.evaluation.evaluate.embed_all", lambda *_: None)  # no room anywhere
    separate = evaluate(head, loader, episodes, 30)
    head.eval()
    with torch.inference_mode():
        by_hand = [
            accuracy(head(loader.test(one.support), loader.test(one.query), shot=shot), one.query_labels)
            for one in episodes.take(30)
        ]
    assert shared.tolist() == spilled.tolist() == separate.tolist() == by_hand
    assert 0.3 < shared.mean() < 1.0


@pytest.mark.parametrize("method", ["protonet", "ta2n"])
@pytest.mark.parametrize("side", [4, 16, 64])
def test_pairs_in_blocks_give_the_accuracies_of_episodes_alone(
    loader: MapLoader, method: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, episodes = head_of(method), episodes_of(loader, 1)
    monkeypatch.setattr("ta2n.pipeline.evaluation.evaluate._BLOCK", {"cpu": side})
    found = []
    for dense in (0.0, np.inf):
        monkeypatch.setattr("ta2n.pipeline.evaluation.strategy._DENSE", dense)
        found.append(evaluate(head, loader, episodes, 100).tolist())
    assert found[0] == found[1]


class Counting(Head):
    """Squared Euclidean distance of means, counting what it is asked to do."""

    def __init__(self) -> None:
        super().__init__(channels=6, frames=4, size=7)
        self.embedded, self.compared = 0, 0

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        self.embedded += len(maps)
        return {"mean": maps.float().mean((2, 3, 4))}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        self.compared += len(support["mean"]) * len(query["mean"])
        means = support["mean"].unflatten(0, (-1, shot)).mean(1)  # type: ignore[no-untyped-call]
        return torch.cdist(query["mean"], means)


def test_every_video_is_embedded_once_and_every_pair_compared_once(loader: MapLoader) -> None:
    head, episodes = Counting(), episodes_of(loader, 1)
    evaluate(head, loader, episodes, 400)
    videos = int((loader.cache.labels("test") >= 0).sum())
    assert head.embedded == videos == 47
    assert head.compared <= videos**2 < 400 * 4 * 8


def test_few_episodes_of_many_videos_compare_their_own_pairs_alone(loader: MapLoader) -> None:
    head, episodes = Counting(), episodes_of(loader, 1)
    evaluate(head, loader, episodes, 3)
    assert head.compared == 3 * 4 * 8


class Relative(Counting):
    """Distances less the mean of the episode's classes, and one class fewer counts: they look at the whole episode."""

    pairwise = False

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        distances = super().compare(support, query, shot)
        weight = torch.linspace(
            1, -1, distances.shape[1]
        )  # depends on how many classes stand beside, and in which place
        return weight * (distances - distances.mean(1, keepdim=True))


def test_a_head_that_looks_at_the_whole_episode_is_compared_by_episode(loader: MapLoader) -> None:
    head, episodes = Relative(), episodes_of(loader, 1)
    found = evaluate(head, loader, episodes, 400)
    assert head.embedded == 47
    assert head.compared == 400 * 4 * 8
    alone = [
        accuracy(head(loader.test(one.support), loader.test(one.query), shot=1), one.query_labels)
        for one in episodes.take(400)
    ]
    assert found.tolist() == alone


def test_the_strategy_is_the_one_with_the_least_work(loader: MapLoader) -> None:
    many, few = (asked_for(list(episodes_of(loader, 1).take(count))).density for count in (400, 3))
    assert strategy(many, kept=True, pairwise=True, shot=1) is Strategy.BLOCKS
    assert strategy(few, kept=True, pairwise=True, shot=1) is Strategy.EPISODES
    assert strategy(many, kept=True, pairwise=True, shot=5) is Strategy.EPISODES
    assert strategy(many, kept=True, pairwise=False, shot=1) is Strategy.EPISODES
    assert strategy(many, kept=False, pairwise=True, shot=1) is Strategy.ANEW
    rows = np.arange(100_000)  # whose distances would take 40 GB
    assert strategy(Asked(rows, rows, rows, 10**12).density, kept=True, pairwise=True, shot=1) is Strategy.EPISODES


def test_training_mode_is_given_back(loader: MapLoader) -> None:
    head = head_of("ta2n").train()
    evaluate(head, loader, episodes_of(loader, 1), 2)
    assert head.training


class Watched(Episodes):
    """Counts the episodes that are held at the same moment."""

    most = 0

    def take(self, count: int, start: int = 0) -> Iterator[Episode]:
        self.most = max(self.most, count)
        return super().take(count, start)


@pytest.mark.parametrize("head", [Counting, Relative])
@pytest.mark.parametrize(("shot", "room"), [(1, True), (2, True), (1, False)])
def test_more_episodes_than_are_held_are_drawn_piece_by_piece_with_the_same_accuracies(
    loader: MapLoader, monkeypatch: pytest.MonkeyPatch, head: type[Counting], shot: int, room: bool
) -> None:
    if not room:
        monkeypatch.setattr("ta2n.pipeline.evaluation.evaluate.embed_all", lambda *_: None)
    held = evaluate(head(), loader, episodes_of(loader, shot), 205)
    monkeypatch.setattr("ta2n.pipeline.evaluation.evaluate._HELD", 100)
    monkeypatch.setattr("ta2n.pipeline.evaluation.evaluate._PIECE", 10)
    episodes = Watched(loader.cache.labels("test"), way=4, shot=shot, queries=2, seed=3)
    seen: list[int] = []
    streamed = evaluate(head(), loader, episodes, 205, on_episodes=seen.append)
    assert streamed.tolist() == held.tolist()
    assert episodes.most == 10
    assert seen == sorted(seen)
    assert seen[-1] == 205
    assert len(seen) > 20


def test_results_that_have_no_room_are_refused_before_anything_is_drawn(loader: MapLoader) -> None:
    episodes = Watched(loader.cache.labels("test"), way=4, shot=1, queries=2, seed=3)
    with pytest.raises(InputError, match=r"of 1000000000000 episodes take 24000\.0 GB of memory, and .* free"):
        evaluate(Counting(), loader, episodes, 10**12)
    assert episodes.most == 0


@pytest.mark.parametrize(("shot", "memory"), [(1, 1 << 30), (2, 1 << 30), (1, 0)])
def test_progress_ends_at_the_count(loader: MapLoader, shot: int, memory: int) -> None:
    seen: list[int] = []
    evaluate(head_of("protonet"), loader, episodes_of(loader, shot), 12, memory_bytes=memory, on_episodes=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 12


def test_accuracy_by_hand_and_what_is_not_finite() -> None:
    distances = torch.tensor([[0.1, 0.2], [0.1, 0.2], [0.3, 0.2]])
    assert accuracy(distances, np.array([0, 1, 1])) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="not finite"):
        accuracy(torch.tensor([[0.1, torch.nan]]), np.array([0]))


def test_no_episode(loader: MapLoader) -> None:
    with pytest.raises(InputError, match="0 episodes"):
        evaluate(head_of("protonet"), loader, episodes_of(loader, 1), 0)

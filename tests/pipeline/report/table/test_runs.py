"""Several methods side by side: the same episodes, nothing done twice."""

from pathlib import Path

import pytest
import tiny_cache
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.classes import SplitClasses
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.evaluation.metrics import estimate
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.report.table.episodes import TestEpisodes
from ta2n.pipeline.report.table.runs import compare
from ta2n.pipeline.report.table.tested import MethodResult
from ta2n.pipeline.training.objectives import BaseClassifier, usual_objective
from ta2n.pipeline.training.settings import Settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    path = tiny_cache.write_cache(tmp_path_factory.mktemp("c"), map_shape=(6, 4, 3, 3), signal=0.5)
    return FeatureCache.open(path)


def settings(method: str, shot: int = 1, **options: object) -> Settings:
    return Settings(
        method=method,
        objective=usual_objective(method),
        options=options,
        way=3,
        shot=shot,
        queries=2,
        frames=4,
        epochs=1,
        episodes_per_epoch=8,
        accumulate=2,
        optimizer="adam",
        learning_rate=1e-2,
        val_episodes=5,
    )


def table(cache: FeatureCache, folder: Path, runs: list[Settings]) -> tuple[list[MethodResult], list[str]]:
    started: list[str] = []
    test = TestEpisodes(episodes=30, queries=2, seed=4)
    rows = compare(cache, runs, folder, test, device=CPU, on_run=lambda run: started.append(run.method))
    return [row for row in rows if isinstance(row, MethodResult)], started


def test_rows_differences_and_nothing_done_twice(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [settings("protonet"), settings("tsn++"), settings("protonet", 3)]
    rows, started = table(cache, tmp_path, runs)
    assert started == ["protonet", "tsn++", "protonet"]
    assert [(row.method, row.shot) for row in rows] == [("protonet", 1), ("tsn++", 1), ("protonet", 3)]
    drawn = Episodes(cache.labels("test"), way=3, shot=1, queries=2, seed=4)
    protonet = build_head("protonet", channels=6, frames=4, size=3)
    alone = evaluate(protonet, MapLoader(cache, frames=4, device=CPU), drawn, 30)
    assert rows[0].accuracy == estimate(alone)
    assert rows[0].difference is rows[2].difference is None
    assert rows[1].difference
    assert rows[1].difference.mean == pytest.approx(rows[1].accuracy.mean - rows[0].accuracy.mean)
    assert rows[0].costs.parameters == 0 < rows[1].costs.parameters
    assert {row.classes for row in rows} == {SplitClasses(6, (), int((cache.labels("test") >= 0).sum()))}
    assert rows[0].fingerprint == rows[1].fingerprint != rows[2].fingerprint

    def never(*_: object, **__: object) -> None:
        raise AssertionError("tested again")

    monkeypatch.setattr("ta2n.pipeline.report.table.tested.evaluate", never)
    monkeypatch.setattr("ta2n.pipeline.report.table.tested.measure_costs", never)
    again = table(cache, tmp_path, runs)[0]
    assert again == rows
    assert [row.accuracies.tolist() for row in again] == [row.accuracies.tolist() for row in rows]


def test_the_base_objective_learns_the_classes(cache: FeatureCache) -> None:
    head = build_head("tsn++", channels=6, frames=4, size=3, dropout=0.0)
    torch.manual_seed(0)
    classifier = BaseClassifier(head, cache.labels("train"))
    assert classifier.weight.shape == (6, 256)
    rows = classifier.rows
    labels = torch.from_numpy(classifier.labels(rows))
    assert labels.tolist() == [row // 8 for row in range(48)]
    optimizer = torch.optim.Adam([*head.parameters(), *classifier.parameters()], lr=1e-2)
    losses = []
    for _ in range(30):
        loss = classifier.loss(classifier(head.embed_clip(cache.read(rows))), labels)  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_head_that_only_compares_cannot_be_a_classifier(cache: FeatureCache, tmp_path: Path) -> None:
    head = build_head("tarn", channels=6, frames=4, size=3)
    with pytest.raises(InputError, match=r"TARN compares clips .* use --objective episodic"):
        BaseClassifier(head, cache.labels("train"))
    projected = build_head("tarn", channels=6, frames=4, size=3, project=2)
    with pytest.raises(InputError, match="use --objective episodic"):
        BaseClassifier(projected, cache.labels("train"))


def test_usual_objectives() -> None:
    assert usual_objective("ta2n") == "episodic"
    assert usual_objective("trn++") == usual_objective("tsn++") == "base"

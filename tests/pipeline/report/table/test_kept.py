"""What is kept of a run is used again only where everything that made it is the same: each part of it in turn."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_cache
import torch

import ta2n
from ta2n.cache_schema.errors import BusyError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.episodes import Episode, Episodes
from ta2n.pipeline.evaluation.costs import measure_costs
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.report.table.episodes import TestEpisodes, TestSplit
from ta2n.pipeline.report.table.kept import clips_digest, measured_once
from ta2n.pipeline.report.table.tested import MethodResult, result_of
from ta2n.pipeline.training.checkpoint import BEST, Checkpoint, load_checkpoint, save_checkpoint
from ta2n.pipeline.training.loop import train_head
from ta2n.pipeline.training.settings import Settings

SETTINGS = Settings(
    method="tsn++", way=3, queries=2, frames=4, epochs=1, episodes_per_epoch=4, accumulate=2, val_episodes=3
)
TEST = TestEpisodes(episodes=20, queries=1)
SHAPE = (6, 4, 3, 3)
CPU = torch.device("cpu")


@dataclasses.dataclass
class Bench:
    """A trained run, what it is tested on, and how often it was tested and measured."""

    folder: Path
    store: Path
    cache: FeatureCache
    test: TestEpisodes = TEST
    settings: Settings = SETTINGS
    device: torch.device = CPU
    evaluated: int = 0
    measured: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)

    def result(self) -> MethodResult:
        self.notes.clear()
        tests = TestSplit(self.cache, self.test)
        return result_of(tests, self.settings, self.folder, device=self.device, on_note=self.notes.append)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    store = tiny_cache.write_cache(tmp_path / "feats", map_shape=SHAPE, signal=0.5, failed=(100,))
    made = Bench(tmp_path / "run", store, FeatureCache.open(store))
    train_head(made.cache, SETTINGS, made.folder, device=made.device)

    def counted_evaluate(*arguments: object, **options: object) -> object:
        made.evaluated += 1
        return evaluate(*arguments, **options)  # type: ignore[arg-type]

    def counted_costs(*arguments: object, **options: object) -> object:
        made.measured += 1
        return measure_costs(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("ta2n.pipeline.report.table.tested.evaluate", counted_evaluate)
    monkeypatch.setattr("ta2n.pipeline.report.table.tested.measure_costs", counted_costs)
    return made


def _a_clip_turns_up(bench: Bench, _: pytest.MonkeyPatch) -> None:
    """What ``ta2n extract --retry-failed`` does."""
    path = tiny_cache.write_cache(bench.folder.parent / "retried", map_shape=SHAPE, signal=0.5)
    bench.cache = FeatureCache.open(path)


def _a_clip_is_of_another_class(bench: Bench, _: pytest.MonkeyPatch) -> None:
    labels = bench.cache.videos.label.tolist()
    labels[96], labels[104] = labels[104], labels[96]
    bench.cache.videos = tiny_cache.relabelled(bench.cache.videos, labels)


def _a_clip_has_other_maps(bench: Bench, _: pytest.MonkeyPatch) -> None:
    digests = bench.cache.digests().copy()
    digests[143] += 1
    bench.cache.digests = lambda: digests  # type: ignore[method-assign]


def _a_train_clip_has_other_maps(bench: Bench, _: pytest.MonkeyPatch) -> None:
    digests = bench.cache.digests().copy()
    digests[0] += 1
    bench.cache.digests = lambda: digests  # type: ignore[method-assign]


def _other_features(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.cache.manifest = dataclasses.replace(bench.cache.manifest, decoder="another 1")


def _other_weights(bench: Bench, _: pytest.MonkeyPatch) -> None:
    stored = load_checkpoint(bench.folder)
    tensors = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in stored.tensors.items()}
    save_checkpoint(bench.folder / BEST, Checkpoint(tensors, stored.metadata))


def _another_version(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ta2n, "__version__", "9.9.9")


def _another_device(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.device = torch.device("cpu", 0)


def _other_test(**other: int) -> Callable[[Bench, pytest.MonkeyPatch], None]:
    def change(bench: Bench, _: pytest.MonkeyPatch) -> None:
        bench.test = dataclasses.replace(bench.test, **other)

    return change


def _other_settings(**other: Any) -> Callable[[Bench, pytest.MonkeyPatch], None]:
    def change(bench: Bench, _: pytest.MonkeyPatch) -> None:
        bench.settings = dataclasses.replace(bench.settings, **other)

    return change


def _episodes_are_drawn_otherwise(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Episodes.__getitem__

    def reversed_queries(self: Episodes, index: int) -> Episode:
        one = draw(self, index)
        return dataclasses.replace(one, query=one.query[::-1].copy(), query_labels=one.query_labels[::-1].copy())

    monkeypatch.setattr(Episodes, "__getitem__", reversed_queries)


# What is changed; how often the test and the costs are measured anew for it; what is said.
CHANGES = {
    "a clip turned up": (_a_clip_turns_up, 1, 0, "other test clips"),
    "a clip of another class": (_a_clip_is_of_another_class, 1, 0, "other test clips"),
    "a clip with other maps": (_a_clip_has_other_maps, 1, 0, "other test clips"),
    "a training clip with other maps": (_a_train_clip_has_other_maps, 0, 1, "other train clips"),
    "features": (_other_features, 1, 1, "other features"),
    "weights": (_other_weights, 1, 1, "other checkpoint"),
    "version": (_another_version, 1, 1, f"ta2n {ta2n.__version__} -> 9.9.9"),
    "device": (_another_device, 1, 1, "device cpu -> cpu:0"),
    "number of episodes": (_other_test(episodes=21), 1, 0, "episodes 20 -> 21"),
    "test queries": (_other_test(queries=2), 1, 0, "queries 1 -> 2"),
    "test seed": (_other_test(seed=1), 1, 0, "seed 0 -> 1"),
    "way": (_other_settings(way=2), 1, 1, "way 3 -> 2"),
    "shot": (_other_settings(shot=2), 1, 1, "shot 1 -> 2"),
    "training queries": (_other_settings(queries=1), 0, 1, "queries 2 -> 1"),
    "seed of training": (_other_settings(seed=1), 0, 1, "seed 0 -> 1"),
    "the drawing of episodes": (_episodes_are_drawn_otherwise, 1, 0, "other test episodes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_made_a_result_it_is_measured_again_where_that_differs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    change, evaluated, measured, said = CHANGES[name]
    bench.result()
    assert (bench.evaluated, bench.measured, bench.notes) == (1, 1, [])
    change(bench, monkeypatch)
    found = bench.result()
    assert (bench.evaluated, bench.measured) == (1 + evaluated, 1 + measured)
    assert len(bench.notes) == evaluated + measured
    assert all(said in note and "\n" not in note for note in bench.notes)
    assert all(note.startswith(f"{bench.folder}/") for note in bench.notes)
    fresh = bench.folder.with_name("fresh")
    fresh.mkdir()
    (fresh / BEST).write_bytes((bench.folder / BEST).read_bytes())
    bench.folder, kept = fresh, bench.folder
    assert bench.result().accuracies.tolist() == found.accuracies.tolist()
    bench.folder = kept
    evaluated, measured = bench.evaluated, bench.measured
    assert bench.result() == found
    assert (bench.evaluated, bench.measured, bench.notes) == (evaluated, measured, [])


def test_a_part_that_an_older_version_did_not_write_means_its_default(bench: Bench) -> None:
    bench.result()
    for name in ("test.json", "costs.json"):
        values = json.loads((bench.folder / name).read_text())
        assert values["key"].pop("seed") == 0
        (bench.folder / name).write_text(json.dumps(values))
    bench.result()
    assert (bench.evaluated, bench.measured) == (1, 1)
    bench.test = dataclasses.replace(TEST, seed=1)
    bench.settings = dataclasses.replace(SETTINGS, seed=1)
    bench.result()
    assert (bench.evaluated, bench.measured) == (2, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not say what it was measured on"),
        ("{", "does not say what it was measured on"),
        ("[1]", "does not say what it was measured on"),
        ('{"key": "{}", "accuracies": [1.0], "seconds": 1.0}', "does not say what it was measured on"),
        ('{"key": {}, "values": {}, "sha256": ""}', "changed after it was written"),
        ("\xff", "does not say what it was measured on"),
    ],
)
def test_files_that_are_none_of_ours_are_measured_again(bench: Bench, text: str, said: str) -> None:
    expected = bench.result()
    (bench.folder / "test.json").write_bytes(text.encode("latin-1"))
    found = bench.result()
    assert found.accuracies.tolist() == expected.accuracies.tolist()
    assert bench.evaluated == 2
    (note,) = bench.notes
    assert said in note


def test_an_edited_number_is_found(bench: Bench) -> None:
    expected = bench.result()
    file = bench.folder / "test.json"
    values = json.loads(file.read_text())
    values["values"]["accuracies"][0] = 0.123
    file.write_text(json.dumps(values))
    assert bench.result().accuracies.tolist() == expected.accuracies.tolist()
    assert "changed after it was written" in bench.notes[0]


def test_what_is_kept_is_read_while_another_writes_and_written_by_one_alone(tmp_path: Path) -> None:
    file = tmp_path / "run" / "test.json"
    file.parent.mkdir()
    assert measured_once(file, {"a": 1}, lambda: {"found": 1}, usual={}) == {"found": 1}
    with writing(file.parent, "another"):
        assert measured_once(file, {"a": 1}, lambda: {"found": 2}, usual={}) == {"found": 1}
        with pytest.raises(BusyError, match="another"):
            measured_once(file, {"a": 2}, lambda: {"found": 2}, usual={})
    assert measured_once(file, {"a": 2}, lambda: {"found": 2}, usual={}) == {"found": 2}
    assert [path.name for path in file.parent.iterdir()] == ["test.json"]


def test_the_digest_of_clips_is_of_the_usable_ones_in_order(tmp_path: Path) -> None:
    def digest(rows: list[tuple[str, str, str, str]], name: str, failed: tuple[int, ...] = ()) -> str:
        path = tiny_cache.write_cache(tmp_path / name, videos=VideoTable.from_rows(rows), failed=failed)
        return clips_digest(FeatureCache.open(path), "test")

    rows = [(f"{number}.avi", f"{number}.avi", f"class{number // 2}", "test") for number in range(4)]
    one = digest(rows, "one")
    assert one == digest(rows, "same")
    # Where the clips lie changes nothing.
    moved = [(name, f"elsewhere/{path}", label, split) for name, path, label, split in rows]
    assert one == digest(moved, "moved")
    assert one != digest(rows, "failed", failed=(3,))
    assert one != digest([*rows[:3], ("new.avi", *rows[3][1:])], "renamed")
    assert one != digest([*rows[:3], (*rows[3][:2], "class0", "test")], "relabelled")
    assert len({digest(rows, f"failed{row}", failed=(row,)) for row in range(4)}) == 4

"""The extraction stage on frame folders: what is stored, what is refused, and what a kill leaves."""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ta2n.cache_schema.errors import BusyError, InputError, ManifestMismatchError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.verify import damaged_clips
from ta2n.pipeline.clips import view_indices
from ta2n.pipeline.features import extract as module
from ta2n.pipeline.features.extract import Summary, extract
from ta2n.pipeline.features.plan import BackboneSpec, Plan
from ta2n.pipeline.features.preprocess import view_window
from ta2n.pipeline.features.shard import Receipt, compute_shard

CPU = torch.device("cpu")
CLIPS, FRAMES = 7, 12


class Thumbnail(nn.Module):
    """A backbone whose features are the image itself, seven pixels wide: what went in can be read off."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 7)


def thumbnail(name: str = "thumbnail", *, mean: float = 0.0, std: float = 1.0) -> BackboneSpec:
    sha = hashlib.sha256(name.encode()).hexdigest()
    return BackboneSpec(
        name=name, weights="none", weights_sha256=sha, layer="pool", channels=3, mean=(mean,) * 3, std=(std,) * 3
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips whose frame ``t`` is of grey level ``20 clip + t``, brighter to the right; clip 4 is broken."""
    root = tmp_path_factory.mktemp("clips")
    ramp = np.linspace(0, 60, 64, dtype=np.float32)[None, :, None] * np.ones((48, 1, 3), np.float32)
    for clip in range(CLIPS):
        (root / f"clip{clip}").mkdir()
        for frame in range(FRAMES):
            pixels = (ramp + 20 * clip + frame).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"clip{clip}" / f"{frame:03}.png")
    for frame in range(FRAMES):
        (root / "clip4" / f"{frame:03}.png").write_bytes(b"not an image")
    return root


def plan(folder: Path, **changes: object) -> Plan:
    rows = [(f"clip{clip}", f"clip{clip}", "a", "train") for clip in range(CLIPS)]
    settings = {"dataset": "grey", "backbone": thumbnail(), "frames": 4, **changes}
    return Plan(videos=VideoTable.from_rows(rows, root=str(folder)), **settings)  # type: ignore[arg-type]


def run(plan: Plan, store: Path, **changes: object) -> Summary:
    settings = {"device": CPU, "network": Thumbnail(), "workers": 1, "shard_size": 3, "batch_size": 8, **changes}
    return extract(plan, store, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Summary, FeatureCache]:
    made = plan(folder, views=3)
    summary = run(made, tmp_path_factory.mktemp("feats") / "grey.zarr")
    return made, summary, FeatureCache.open(summary.store)


def test_the_summary_adds_up(stored: tuple[Plan, Summary, FeatureCache]) -> None:
    _, summary, cache = stored
    assert (summary.done, summary.before, summary.short) == (6, 0, 0)
    assert [name for name, _ in summary.failed] == ["clip4"]
    assert "cannot be read as an image" in summary.failed[0][1]
    assert summary.bytes == sum(file.stat().st_size for file in summary.store.rglob("*") if file.is_file())
    assert cache.failures() == summary.failed
    assert damaged_clips(cache) == []


def test_every_view_holds_its_own_frames_and_window(stored: tuple[Plan, Summary, FeatureCache]) -> None:
    made, _, cache = stored
    for row in (0, 2, 6):
        wanted = view_indices("tsn", frame_count=FRAMES, frames=4, views=3, seed=0, clip_id=f"clip{row}")
        assert np.array_equal(cache.frame_index([row])[0], wanted)
        for view in range(3):
            maps = cache.read([row], view)[0].float().numpy()  # (3, T, 7, 7)
            window = view_window(made.preprocessing, (256, 256), view=view, seed=0, clip_id=f"clip{row}")
            left = 60 / 255 * window.left / 256
            level = (20 * row + wanted[view]) / 255 + left + 60 / 255 * (224 / 2) / 256
            assert np.allclose(maps.mean(axis=(0, 2, 3)), level, atol=1.5 / 255)
            assert (maps[0, 0, 0, -1] < maps[0, 0, 0, 0]) == window.mirrored


def test_normalisation_is_the_backbones(folder: Path, tmp_path: Path) -> None:
    plain = run(plan(folder), tmp_path / "a.zarr")
    shifted = run(plan(folder, backbone=thumbnail(mean=0.5)), tmp_path / "b.zarr")
    maps = [FeatureCache.open(one.store).read([0]).float() for one in (plain, shifted)]
    assert torch.allclose(maps[0] - 0.5, maps[1], atol=1e-3)


def test_running_again_does_nothing_and_reads_no_clip(folder: Path, tmp_path: Path) -> None:
    run(plan(folder), tmp_path / "grey.zarr")
    before = contents(tmp_path)
    calls: list[int] = []
    again = run(plan(folder), tmp_path / "grey.zarr", on_clip=lambda summary: calls.append(summary.done))
    assert (again.done, again.before, len(again.failed), calls) == (0, 6, 1, [])
    assert contents(tmp_path) == before


def test_failed_clips_are_tried_again_only_when_asked(folder: Path, tmp_path: Path) -> None:
    run(plan(folder), tmp_path / "grey.zarr")
    again = run(plan(folder), tmp_path / "grey.zarr", retry_failed=True)
    assert (again.done, again.before, len(again.failed)) == (0, 6, 1)


def test_a_stopped_run_continues_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run(plan(folder), tmp_path / "whole" / "grey.zarr")

    def stop(summary: Summary) -> None:
        if summary.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(folder), tmp_path / "broken" / "grey.zarr", on_clip=stop)
    state = FeatureCache.open(tmp_path / "broken").done
    assert state.tolist() == [True] * 3 + [False] * 4
    again = run(plan(folder), tmp_path / "broken" / "grey.zarr")
    assert (again.before, again.done) == (3, 3)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def contents(store: Path) -> dict[str, bytes]:
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_extract as own
def told(summary):
    print(summary.done, flush=True)
own.run(own.plan(Path({folder!r})), Path({store!r}), on_clip=told)
"""


def test_a_killed_process_leaves_a_store_that_continues(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "killed" / "grey.zarr"
    code = KILLED.format(here=str(Path(__file__).parent), folder=str(folder), store=str(store))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout
        assert any(line.strip() == "4" for line in child.stdout)
        os.killpg(child.pid, signal.SIGKILL)
    run(plan(folder), tmp_path / "whole" / "grey.zarr")
    run(plan(folder), store)
    assert contents(store) == contents(tmp_path / "whole" / "grey.zarr")


def test_another_backbone_or_rule_into_the_same_store_is_refused(folder: Path, tmp_path: Path) -> None:
    run(plan(folder), tmp_path / "grey.zarr")
    other = thumbnail("other", mean=0.1)
    with pytest.raises(ManifestMismatchError, match=r"backbone: thumbnail -> other(.|\n)*preprocessing.mean"):
        run(plan(folder, backbone=other), tmp_path / "grey.zarr")
    with pytest.raises(ManifestMismatchError, match=r"sampling.rule: tsn -> linspace"):
        run(plan(folder, rule="linspace"), tmp_path / "grey.zarr")


def test_features_that_are_not_finite_are_a_failure(folder: Path, tmp_path: Path) -> None:
    huge = thumbnail("huge", std=1e-9)
    summary = run(plan(folder, backbone=huge), tmp_path / "grey.zarr")
    assert summary.done == 0
    assert "not finite" in summary.failed[0][1]


def test_a_store_that_the_disk_cannot_hold_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(InputError, match=r"the features take \d\S* [kM]?B and .* has 10 B free"):
        run(plan(folder), tmp_path / "grey.zarr")


@pytest.mark.parametrize(("name", "value"), [("frames", 0), ("views", 0)])
def test_numbers_below_one(folder: Path, name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} is 0"):
        plan(folder, **{name: value})


def test_an_unknown_frame_rule(folder: Path) -> None:
    with pytest.raises(InputError, match="'all' is not known; choose tsn or linspace"):
        plan(folder, rule="all")


def test_another_process_that_commits_the_shards_to_come_moves_no_clip(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of events that used to put clips into the rows of others: this run has looked ahead into a shard.

    The lock keeps the other out; here it does not hold, as on a disk whose locks are worth nothing.
    """
    monkeypatch.setattr(module, "writing", lambda *_: nullcontext())
    run(plan(folder), tmp_path / "alone" / "grey.zarr")
    store = tmp_path / "two" / "grey.zarr"
    real, calls = compute_shard, itertools.count()

    def with_another(*given: object, **named: object) -> Receipt:
        if next(calls) == 0:  # the other run goes through the whole store before this one has its first shard
            with monkeypatch.context() as patch:
                patch.setattr(module, "compute_shard", real)
                run(plan(folder), store)
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "compute_shard", with_another)
    run(plan(folder), store)
    assert contents(store) == contents(tmp_path / "alone" / "grey.zarr")


def test_a_second_extraction_into_the_same_store_is_refused(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "grey.zarr"
    with writing(store, "ta2n extract"), pytest.raises(BusyError, match=r"grey.zarr: ta2n extract \(process \d+ on"):
        run(plan(folder), store)
    assert not store.exists()
    assert run(plan(folder), store).done == 6

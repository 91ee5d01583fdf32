"""The demo's clips: repeatable, complete, resumable, and told apart by motion alone."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.folder import scan_folder
from ta2n.pipeline.demo import render
from ta2n.pipeline.demo.motions import MOTIONS, REST, Pose, pose_at
from ta2n.pipeline.demo.render import FRAMES, SIZE, TRUTH, Draw, render_demo_clips
from ta2n.pipeline.videos.reader import read_video

av = pytest.importorskip("av", reason="needs the extra ta2n[demo]")


def decoded(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def clips(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.mp4"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "clips"
    render_demo_clips(folder, clips_per_class=2, seed=3)
    return folder


def test_every_class_of_every_split_has_its_clips(rendered: Path) -> None:
    names = [name for motions in MOTIONS.values() for name in motions]
    assert {split: len(motions) for split, motions in MOTIONS.items()} == {"train": 10, "val": 5, "test": 5}
    assert len(set(names)) == 20
    expected = [
        f"{split}/{name}/clip_00{i}.mp4" for split, motions in MOTIONS.items() for name in motions for i in (0, 1)
    ]
    assert clips(rendered) == sorted(expected)
    assert sorted(path.name for path in rendered.iterdir()) == [TRUTH, "test", "train", "val"]


def test_a_clip_is_a_function_of_seed_class_and_number(rendered: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    names = render_demo_clips(
        tmp_path, clips_per_class=1, seed=3, on_clip=lambda done, total: seen.append((done, total))
    )
    assert names == [name for motions in MOTIONS.values() for name in motions]
    assert seen == [(done, 20) for done in range(1, 21)]
    for path in ("train/up-then-down/clip_000.mp4", "test/big/clip_000.mp4"):
        np.testing.assert_array_equal(decoded(tmp_path / path), decoded(rendered / path))
    other = decoded(rendered / "test/big/clip_001.mp4")
    assert not np.array_equal(other, decoded(rendered / "test/big/clip_000.mp4"))


def test_all_frames_decode_and_show_what_was_drawn(rendered: Path) -> None:
    truth = json.loads((rendered / TRUTH).read_text())
    for path in ("val/right-then-up/clip_000.mp4", "test/part-left-and-right/clip_001.mp4"):
        frames = decoded(rendered / path)
        assert frames.shape == (FRAMES, SIZE, SIZE, 3)
        split, name, _ = path.split("/")
        drawn = np.stack(list(render.render_frames(MOTIONS[split][name], as_draw(truth["clips"][path]))))
        assert np.abs(frames.astype(int) - drawn).mean() < 4


def test_the_packages_own_reader_sees_the_same_clips_and_frames(rendered: Path) -> None:
    data = scan_folder(rendered)
    assert [clip.id for clip in data.clips] == clips(rendered)
    assert not data.notes
    clip = data.clips[-1]
    read = read_video(clip.path, lambda frames: np.arange(frames, dtype=np.int32), None)
    assert (read.frame_count, read.fps) == (FRAMES, render.FPS)
    assert read.images.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.abs(read.images.astype(int) - decoded(clip.path)).mean() < 2


def as_draw(truth: dict[str, Any]) -> Draw:
    pairs: dict[str, Any] = {key: tuple(truth[key]) for key in ("ease", "place")}
    return Draw(**{**truth, **pairs})


def test_truth_tells_when_the_shape_moves(rendered: Path) -> None:
    truth = json.loads((rendered / TRUTH).read_text())
    assert truth["seed"] == 3
    assert truth["frames"] == FRAMES
    assert sorted(truth["clips"]) == clips(rendered)
    for path in ("test/big/clip_000.mp4", "train/left/clip_001.mp4", "test/left-then-right/clip_001.mp4"):
        split, name, _ = path.split("/")
        draw = as_draw(truth["clips"][path])
        frames = np.stack(list(render.render_frames(MOTIONS[split][name], draw))).astype(int)
        moved = np.flatnonzero(np.abs(np.diff(frames, axis=0)).sum((1, 2, 3)))
        assert moved.min() == draw.start
        assert moved.max() == draw.start + draw.duration - 1


@given(st.integers(0, 2**32 - 1))
def test_progress_runs_from_nought_to_one_inside_the_clip(seed: int) -> None:
    draw = Draw.from_generator(np.random.default_rng(seed))
    progress = draw.progress()
    assert progress.shape == (FRAMES,)
    assert (np.diff(progress) >= 0).all()
    assert 2 <= draw.start < draw.start + draw.duration <= FRAMES - 3
    assert (progress[: draw.start + 1] == 0).all()
    assert (progress[draw.start + draw.duration :] == 1).all()
    assert 0 < progress[draw.start + 1] < 1


def test_poses_leave_rest_pass_each_stop_and_come_back() -> None:
    track = (Pose(x=0.3), Pose(y=-0.3, wide=4.0))
    assert [pose_at(track, step) for step in (0.0, 1.0)] == [REST, REST]
    for progress, stop in ((1 / 3, track[0]), (2 / 3, track[1])):
        assert pose_at(track, progress) == pytest.approx(stop, abs=1e-6)
    assert pose_at(track, 0.5) == pytest.approx(Pose(x=0.15, y=-0.15, wide=2.0))


def test_the_same_draw_looks_the_same_at_rest_in_every_class() -> None:
    """Appearance, timing and place never see the class: what is left to tell it is the motion between rests."""
    draw = Draw.from_generator(np.random.default_rng(5))
    motions = [motion for split in MOTIONS.values() for motion in split.values()]
    middle = draw.start + draw.duration // 2
    kept = [
        {i: frame for i, frame in enumerate(render.render_frames(m, draw)) if i in (0, middle, FRAMES - 1)}
        for m in motions
    ]
    for frames in kept:
        np.testing.assert_array_equal(frames[0], kept[0][0])
        np.testing.assert_array_equal(frames[FRAMES - 1], kept[0][0])
        assert not np.array_equal(frames[middle], frames[0])


def test_draws_of_all_classes_spread_alike() -> None:
    sizes = np.array(
        [[Draw.from_generator(np.random.default_rng([0, c, i])).start for i in range(200)] for c in range(20)]
    )
    # The spread of a mean of 200, from the draws themselves; 4 of it is passed once in 16,000.
    assert np.abs(sizes.mean(1) - sizes.mean()).max() < 4 * sizes.std() / np.sqrt(200)


def test_a_killed_run_goes_on_and_keeps_what_is_complete(rendered: Path, tmp_path: Path) -> None:
    def killed(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_demo_clips(tmp_path, clips_per_class=2, seed=3, on_clip=killed)
    kept = {path: (tmp_path / path).stat().st_mtime_ns for path in clips(tmp_path)}
    assert len(kept) == 2
    (tmp_path / "train/up-then-down/clip_001.partial").write_bytes(b"cut off")
    render_demo_clips(tmp_path, clips_per_class=2, seed=3)
    assert clips(tmp_path) == clips(rendered)
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in kept} == kept


def test_a_failing_encode_leaves_no_clip(tmp_path: Path) -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((SIZE, SIZE, 3), np.uint8)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        render.write_clip(tmp_path / "clip.mp4", frames())
    assert not (tmp_path / "clip.mp4").exists()


def test_clips_of_another_seed_or_number_are_not_mixed(rendered: Path) -> None:
    before = (rendered / TRUTH).read_bytes()
    with pytest.raises(InputError, match="holds 40 clips rendered with seed 3, not 40 with seed 4"):
        render_demo_clips(rendered, clips_per_class=2, seed=4)
    with pytest.raises(InputError, match="not 20 with seed 3"):
        render_demo_clips(rendered, clips_per_class=1, seed=3)
    assert (rendered / TRUTH).read_bytes() == before


@pytest.mark.parametrize(("clips_per_class", "seed"), [(0, 0), (1, -1)])
def test_arguments_out_of_range_are_refused(tmp_path: Path, clips_per_class: int, seed: int) -> None:
    with pytest.raises(InputError, match="clips_per_class must be 1 or more and seed 0 or more"):
        render_demo_clips(tmp_path, clips_per_class=clips_per_class, seed=seed)


def test_without_the_encoder_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(MissingError, match=r"no H\.264 encoder"):
        render_demo_clips(tmp_path / "clips")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match=r"ta2n\[demo\]"):
        render_demo_clips(tmp_path / "clips")
    assert not (tmp_path / "clips").exists()


def test_a_draw_survives_its_file() -> None:
    draw = Draw.from_generator(np.random.default_rng(11))
    assert as_draw(json.loads(json.dumps(asdict(draw)))) == draw

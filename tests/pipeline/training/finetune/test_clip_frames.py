"""Frames of a store's clips, decoded again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import tiny_tuning
from PIL import Image

from ta2n.cache_schema.errors import DecodeError, InputError, MissingError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.training.finetune.frames import ClipFrames
from ta2n.pipeline.videos.pool import DecodePool

ROWS = np.array([3, 0, 7])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_tuning.registered():
        yield tiny_tuning.made(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(workers=1) as made:
        yield made


def clips(
    folder: Path, pool: DecodePool, *, root: Path | None = None, frames: int = 4, flip: bool = True
) -> ClipFrames:
    cache = FeatureCache.open(folder / "feats")
    return ClipFrames(cache, root or folder / "clips", frames=frames, pool=pool, seed=5, flip=flip)


def test_a_random_view_is_a_function_of_seed_item_and_clip(folder: Path, pool: DecodePool) -> None:
    made = clips(folder, pool)
    first, second = list(made.random(ROWS, 1)), list(made.random(ROWS, 2))
    again = list(made.random(ROWS[::-1], 1))[::-1]
    for number in range(3):
        assert first[number].shape == (4, 28, 28, 3)
        assert np.array_equal(first[number], again[number])
        assert not np.array_equal(first[number], second[number])


def test_random_views_are_mirrored_half_of_the_time_or_never(folder: Path, pool: DecodePool) -> None:
    mirrored = {True: 0, False: 0}
    for flip in mirrored:
        made, still = clips(folder, pool, flip=flip), clips(folder, pool, flip=False)
        for item in range(10):
            pairs = zip(made.random(ROWS, item), still.random(ROWS, item), strict=True)
            mirrored[flip] += sum(not np.array_equal(one, other) for one, other in pairs)
    assert mirrored[False] == 0
    assert 6 <= mirrored[True] <= 24


def test_fewer_frames_are_those_that_training_on_the_store_takes(folder: Path, pool: DecodePool) -> None:
    whole, few = (next(iter(clips(folder, pool, frames=frames).test(ROWS))) for frames in (4, 2))
    # Of six frames the store has 0, 2, 3, 5; two segments of three have 1 and 4 in their middle: the later of the
    # nearest are 2 and 5.
    assert np.array_equal(few, whole[[1, 3]])
    with pytest.raises(InputError, match="5 frames asked for, the store has 4"):
        clips(folder, pool, frames=5)


def test_a_clip_that_fails_or_is_another_is_named(folder: Path, pool: DecodePool, tmp_path: Path) -> None:
    root = shutil.copytree(folder / "clips", tmp_path / "clips")
    cache = FeatureCache.open(folder / "feats")
    clip = root / str(cache.videos.path[3])
    made = clips(folder, pool, root=root)
    Image.new("RGB", (44, 40)).save(clip / "9.png")
    with pytest.raises(DecodeError, match=r"has 7 frames, and 6 when .* was made") as caught:
        list(made.test(ROWS))
    assert str(clip) in str(caught.value)
    for image in clip.iterdir():
        image.write_bytes(b"torn")
    with pytest.raises(DecodeError, match="It was read when") as caught:
        list(made.random(ROWS, 0))
    assert str(caught.value).startswith(f"{clip}/")
    assert "\n" not in str(caught.value)
    shutil.rmtree(clip)
    with pytest.raises(MissingError, match=r"there is no such clip, and 0 more .* --root"):
        clips(folder, pool, root=root)
    with pytest.raises(MissingError, match="are not there; give their folder with --root"):
        clips(folder, pool, root=tmp_path / "nowhere")


def test_a_store_that_was_not_extracted_has_no_frames(tmp_path: Path, pool: DecodePool) -> None:
    cache = FeatureCache.open(tiny_cache.write_cache(tmp_path))
    with pytest.raises(InputError, match="was not extracted by ta2n"):
        ClipFrames(cache, tmp_path, frames=4, pool=pool)

"""Damage of every kind: after a repair and one more extraction the store is what it was."""

from pathlib import Path

import numpy as np
import pytest
import tiny_cache

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.export import export_hdf5
from ta2n.pipeline.cache.left_overs import left_overs
from ta2n.pipeline.cache.repair import repair
from ta2n.pipeline.cache.verify import damaged_clips

VIDEOS = tiny_cache.table(2, 5)
ARRAYS = ["frame_index", "state", "digest", "frame_count", "fps", "decoder", "concealed", "reason"]


def store(folder: Path, compression: str = "none", shard_size: int = 7) -> Path:
    return tiny_cache.write_cache(folder, videos=VIDEOS, shard_size=shard_size, compression=compression)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def chunks(path: Path, name: str) -> list[Path]:
    return sorted(file for file in (path / name / "c").rglob("*") if file.is_file())


@pytest.mark.parametrize("kind", ["flip", "cut", "empty", "gone", "swap", "zeros"])
@pytest.mark.parametrize("name", ["features", "state", "digest", "frame_index"])
def test_any_damage_to_a_chunk(tmp_path: Path, name: str, kind: str) -> None:
    generator = np.random.default_rng([len(name), len(kind)])
    path = store(tmp_path, str(generator.choice(["none", "zstd"])), shard_size=6)  # whole shards only
    sound = contents(path)
    files = chunks(path, name)
    for file in generator.choice(len(files), 2, replace=False):
        damage(files[file], kind, generator.random(), files)
    repair(path)
    assert damaged_clips(FeatureCache.open(path)) == []
    store(tmp_path)
    changed = {key for key, raw in contents(path).items() if sound.get(key) != raw}
    # Columns without a digest may keep a wrong value of the right length; maps, digests and states may not.
    assert not changed & {key for key in sound if key.split("/")[0] in ("features", "digest", "state", "videos")}
    assert all(key.split("/")[0] == name for key in changed)
    if kind in ("cut", "empty"):
        assert not changed


@pytest.mark.parametrize("place", np.linspace(0, 1, 9, endpoint=False).tolist())
def test_a_flipped_bit_anywhere_in_a_shard(tmp_path: Path, place: float) -> None:
    path = store(tmp_path)
    sound = contents(path)
    damage(chunks(path, "features")[-1], "flip", place, [])
    assert repair(path).pending
    store(tmp_path)
    assert contents(path) == sound


def damage(file: Path, kind: str, place: float, files: list[Path]) -> None:
    raw = bytearray(file.read_bytes())
    if kind == "flip":
        raw[int(place * len(raw))] ^= 1 << int(place * 8)
    elif kind == "cut":
        raw = raw[: int(place * len(raw))]
    elif kind == "empty":
        raw = bytearray()
    elif kind == "zeros":
        raw[: len(raw) // 2] = bytes(len(raw) // 2)
    elif kind == "swap":
        other = files[0] if file != files[0] else files[-1]
        other_raw = other.read_bytes()
        other.write_bytes(raw)
        raw = bytearray(other_raw)
    if kind == "gone":
        file.unlink()
    else:
        file.write_bytes(raw)


@pytest.mark.parametrize(("name", "text"), zip(ARRAYS, ["", "null", "{}", None] * 2, strict=True))
def test_a_damaged_description_is_written_again(tmp_path: Path, name: str, text: str | None) -> None:
    path = store(tmp_path)
    sound = contents(path)
    file = path / name / "zarr.json"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert repair(path).rewritten == [name]
    assert contents(path) == sound


def test_sound_rows_of_a_damaged_shard_stay(tmp_path: Path) -> None:
    path = store(tmp_path)
    sound = contents(path)
    file = chunks(path, "features")[1]
    raw = bytearray(file.read_bytes())
    raw[100] ^= 1
    file.write_bytes(raw)
    checked: list[int] = []
    done = repair(path, on_clip=checked.append)
    assert (done.checked, checked[-1]) == (30, 30)
    ((name, problem),) = done.pending
    assert "is not what was written" in problem
    cache = FeatureCache.open(path)
    assert cache.videos.id[~cache.done].tolist() == [name]
    store(tmp_path)
    assert contents(path) == sound
    assert repair(path).pending == []


def test_what_dead_processes_left_goes(tmp_path: Path) -> None:
    path = store(tmp_path)
    left = [path / "features" / "c" / "1" / "0.8f.partial", tmp_path / ".toy.zarr.123.partial" / "zarr.json"]
    mine = [tmp_path / ".other.zarr.123.partial", tmp_path / "toy.zarr.partial"]
    for file in [*left, *mine]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    assert repair(path).removed == [tmp_path / ".toy.zarr.123.partial", left[0]]
    assert [file.exists() for file in [*left, *mine]] == [False, False, True, True]
    left[0].write_bytes(b"x")
    store(tmp_path)  # the next run does it by itself
    assert left_overs(path) == []


def test_what_nothing_else_holds_cannot_be_mended(tmp_path: Path) -> None:
    path = store(tmp_path)
    export_hdf5(FeatureCache.open(path), tmp_path / "toy.h5")
    with pytest.raises(InputError, match="one file is not repaired"):
        repair(tmp_path / "toy.h5")
    (chunks(path, "videos/id")[0]).write_bytes(b"x")
    with pytest.raises(DamagedCacheError, match=r"'videos/id' cannot be read.*another --cache folder"):
        repair(path)
    assert np.array_equal(FeatureCache.open(tmp_path / "toy.h5").done, np.ones(30, bool))

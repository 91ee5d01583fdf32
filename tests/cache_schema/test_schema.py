"""Manifest, row table and layout."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import xxhash
import zarr
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema import errors
from ta2n.cache_schema.layout import array, create_store, open_store
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.cache_schema.values import REASON_BYTES, decode_reason, digest, encode_reason
from ta2n.cache_schema.version1 import read_table


def test_every_error_is_ours_and_a_builtin() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.Ta2nError]
    assert len(kinds) >= 5
    assert all(issubclass(kind, errors.Ta2nError) for kind in kinds)
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.MissingError, FileNotFoundError)


def test_manifest_survives_a_round_trip_and_names_what_differs() -> None:
    first = tiny_cache.manifest(tiny_cache.table())
    assert Manifest.from_dict(first.to_dict(), source="x") == first
    second = dataclasses.replace(
        first, backbone="resnet50", preprocessing={**first.preprocessing, "crop": 224}, ta2n_version="9"
    )
    assert first.difference(second) == ["backbone: toy -> resnet50", "preprocessing.crop: 8 -> 224"]
    assert first.hash() != second.hash()
    assert first.hash() == dataclasses.replace(first, ta2n_version="9").hash()


def test_a_manifest_of_another_schema_is_refused() -> None:
    values = tiny_cache.manifest(tiny_cache.table()).to_dict()
    with pytest.raises(errors.DamagedCacheError, match="schema version is 99"):
        Manifest.from_dict({**values, "schema_version": 99}, source="x")
    with pytest.raises(errors.DamagedCacheError, match="layer"):
        Manifest.from_dict({name: value for name, value in values.items() if name != "layer"}, source="x")


@pytest.mark.parametrize("value", [None, 3, [], {}, True])
def test_a_manifest_of_other_kinds_is_refused(value: object) -> None:
    values = tiny_cache.manifest(tiny_cache.table()).to_dict()
    fitting = {"sampling": {}, "preprocessing": {}, "class_token": True}
    for name in values.keys() - {"schema_version", "grid"}:
        if value != fitting.get(name, ()) or type(value) is not type(fitting.get(name)):
            with pytest.raises(errors.DamagedCacheError, match=name if name != "views" else "view"):
                Manifest.from_dict({**values, name: value}, source="x")


names = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)
splits = st.sampled_from(["train", "val", "test", ""])


rows_of = st.lists(st.tuples(names, names, names, splits), unique_by=(lambda row: row[0], lambda row: row[2]))


def as_rows(table: VideoTable) -> list[tuple[str, str, str, str]]:
    columns = (column.tolist() for column in (table.id, table.path, table.label, table.split))
    return list(zip(*columns, strict=True))


@given(rows_of)
def test_row_table_survives_a_round_trip(rows: list[tuple[str, str, str, str]]) -> None:
    table = VideoTable.from_rows(rows, root="/somewhere é")
    again = VideoTable.from_columns(table.columns().__getitem__, table.checksums, source="x")
    assert (as_rows(again), again.root, again.hash()) == (rows, "/somewhere é", table.hash())
    assert again.label_names.tolist() == sorted({row[2] for row in rows})


@given(rows_of.filter(bool), st.data())
def test_whatever_is_changed_in_a_row_table_is_found(
    rows: list[tuple[str, str, str, str]], data: st.DataObject
) -> None:
    table = VideoTable.from_rows(rows, root="/somewhere")
    columns = {name: values.copy() for name, values in table.columns().items()}
    name = data.draw(st.sampled_from(sorted(columns)))
    raw = columns[name].view(np.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    def everything() -> tuple[list[str], str]:
        opened = VideoTable.from_columns(columns.__getitem__, table.checksums, source="x")
        return opened.path.tolist(), opened.root

    with pytest.raises(errors.DamagedCacheError, match=f"column '{name}'"):
        everything()


def test_ids_classes_and_splits_make_the_hash_and_paths_do_not() -> None:
    rows = [("a", "a.mp4", "run", "train"), ("b", "b.mp4", "sit", "test")]
    first = VideoTable.from_rows(rows, root="here").hash()
    moved = [(name, "moved", label, split) for name, _, label, split in rows]
    assert VideoTable.from_rows(moved, root="there").hash() == first
    others = [
        [("c", *rows[0][1:]), rows[1]],
        [(*rows[0][:2], "sit", "train"), (*rows[1][:2], "run", "test")],
        [(*rows[0][:3], "val"), rows[1]],
        rows[::-1],
    ]
    assert len({first, *(VideoTable.from_rows(other).hash() for other in others)}) == 5
    assert VideoTable.from_rows(rows).with_splits(["val", "test"]).hash() == VideoTable.from_rows(others[2]).hash()


def test_row_table_refuses_a_name_twice_and_an_odd_split() -> None:
    with pytest.raises(errors.InputError, match="'a' twice"):
        VideoTable.from_rows([("a", "a", "c", ""), ("a", "b", "c", "")])
    with pytest.raises(errors.InputError, match="'tesu' is no split"):
        VideoTable.from_rows([("a", "a", "c", "tesu")])


@given(st.lists(st.tuples(st.sampled_from("abcd"), splits), max_size=12))
def test_a_class_in_two_splits_is_refused_and_no_other_table(rows: list[tuple[str, str]]) -> None:
    def made() -> VideoTable:
        return VideoTable.from_rows([(str(row), str(row), *one) for row, one in enumerate(rows)], root="/clips")

    by_class = {label: {split for name, split in rows if name == label and split} for label, _ in rows}
    shared = [label for label, found in by_class.items() if len(found) > 1]
    if not shared:
        assert len(made()) == len(rows)
        return
    with pytest.raises(
        errors.InputError, match=r"^/clips: class '[abcd]' is in the split '\w+' \(clip '\d+'\)"
    ) as told:
        made()
    name, first, clip, second, other = re.findall(r"'(\w+)'", str(told.value))[:5]
    assert name in shared
    assert (rows[int(clip)], rows[int(other)]) == ((name, first), (name, second))
    assert first != second
    assert "--split-file" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_stored_table_with_a_class_in_two_splits_names_its_store() -> None:
    columns = {"id": ["a", "b"], "path": ["a", "b"], "label": ["run", "run"], "split": ["train", "test"]}
    with pytest.raises(errors.DamagedCacheError, match=r"^feats/x.zarr: .*class 'run' is in the split 'train'"):
        read_table(json.dumps({"root": "", **columns}).encode(), source="feats/x.zarr")


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=300))
def test_reasons_are_stored_whole_or_cut_at_a_character(text: str) -> None:
    back = decode_reason(encode_reason(text))
    if len(text.encode()) <= REASON_BYTES:
        assert back == text
    else:
        assert back.endswith("…")
        assert text.startswith(back[:-1])


def test_digest_sees_one_flipped_bit_whose_map_it_is_and_not_the_memory_order() -> None:
    maps = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    assert digest(maps, "a", 0) == digest(np.asfortranarray(maps), "a", 0)
    changed = maps.copy()
    changed.view(np.uint16)[1, 2, 3] ^= 1
    found = [digest(maps, "a", 0), digest(changed, "a", 0), digest(maps, "b", 0), digest(maps, "a", 1)]
    assert len(set(found)) == 4
    assert len({digest(maps, name, view, version=1) for name in "ab" for view in (0, 1)}) == 1


def test_a_digest_is_what_the_documentation_says() -> None:
    maps = np.array([1.5, -2], np.float16).reshape(1, 2)
    by_hand = xxhash.xxh3_64(b"clips/a.mp4\x00" + b"3\x00" + bytes.fromhex("003e00c0")).intdigest()
    assert digest(maps, "clips/a.mp4", 3) == by_hand


def test_a_store_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tiny_cache.table(2, 2)
    path = tmp_path / "new" / "toy.zarr"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zarr, "create_group", killed)  # the root, which comes last
        with pytest.raises(KeyboardInterrupt):
            create_store(path, tiny_cache.manifest(table), table, map_shape=(2, 4, 1, 1), shard_size=3)
    with pytest.raises(errors.MissingError, match="no feature store"):
        open_store(path)
    create_store(path, tiny_cache.manifest(table), table, map_shape=(2, 4, 1, 1), shard_size=3)
    group, stored, rows = open_store(path)
    assert stored == tiny_cache.manifest(table)
    assert as_rows(rows) == as_rows(table)
    assert array(group, "features").shards == (3, 1, 2, 4, 1, 1)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    table = tiny_cache.table(2, 2)
    (tmp_path / "toy.zarr").mkdir()
    (tmp_path / "toy.zarr" / "thesis.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    for name, message in (("toy", "holds thesis.txt and is no feature store"), ("file", "is a file")):
        path = tmp_path / f"{name}.zarr"
        with pytest.raises(errors.InputError, match=message):
            create_store(path, tiny_cache.manifest(table), table, map_shape=(2, 4, 1, 1), shard_size=3)
    assert [path.name for path in (tmp_path / "toy.zarr").iterdir()] == ["thesis.txt"]


def test_a_store_is_plain_zarr_3(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    group = zarr.open_group(path, mode="r", zarr_format=3)
    assert {name for name, _ in group.members()} == {
        "features", "frame_index", "state", "digest", "frame_count", "fps", "decoder", "concealed", "reason", "videos",
    }  # fmt: skip
    column = group["videos/id"]
    assert isinstance(column, zarr.Array)
    assert np.asarray(column[:]).tobytes().decode().split("\0")[0] == "train/train0/0.avi"


def test_bad_settings_are_named(tmp_path: Path) -> None:
    table = tiny_cache.table(2, 2)
    made = tiny_cache.manifest(table)
    with pytest.raises(errors.InputError, match="shard size is 0"):
        create_store(tmp_path / "a.zarr", made, table, map_shape=(2, 4, 1, 1), shard_size=0)
    with pytest.raises(errors.InputError, match=r"compression 'rar'.*none, zstd, lz4"):
        create_store(tmp_path / "a.zarr", made, table, map_shape=(2, 4, 1, 1), shard_size=2, compression="rar")
    assert not (tmp_path / "a.zarr").exists()


def test_something_else_is_not_opened(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "other.zarr", mode="w", zarr_format=3)
    with pytest.raises(errors.DamagedCacheError, match="not a ta2n feature store"):
        open_store(tmp_path / "other.zarr")

"""Manifest, row table and layout."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import zarr
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema import errors
from ta2n.cache_schema.layout import (
    REASON_BYTES,
    array,
    create_store,
    decode_reason,
    digest,
    encode_reason,
    open_store,
)
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable


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


names = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)
splits = st.sampled_from(["train", "val", "test", ""])


@given(
    st.lists(st.tuples(names, names, names, splits), unique_by=(lambda r: r[0], lambda r: r[2])),
)
def test_row_table_survives_a_round_trip(rows: list[tuple[str, str, str, str]]) -> None:
    table = VideoTable.from_rows(rows, root="/somewhere é")
    again = VideoTable.from_bytes(table.to_bytes(), source="x")
    assert again.to_bytes() == table.to_bytes()
    assert again.hash() == table.hash()
    assert [tuple(row) for row in zip(again.id, again.path, again.label, again.split, strict=True)] == rows


def test_row_table_refuses_a_name_twice() -> None:
    with pytest.raises(errors.DamagedCacheError, match="'a' twice"):
        VideoTable.from_rows([("a", "a", "c", ""), ("a", "b", "c", "")])


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
    with pytest.raises(errors.DamagedCacheError, match=r"^feats/x.zarr: class 'run' is in the split 'train'"):
        VideoTable.from_bytes(json.dumps({"root": "", **columns}).encode(), source="feats/x.zarr")


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=300))
def test_reasons_are_stored_whole_or_cut_at_a_character(text: str) -> None:
    back = decode_reason(encode_reason(text))
    if len(text.encode()) <= REASON_BYTES:
        assert back == text
    else:
        assert back.endswith("…")
        assert text.startswith(back[:-1])


def test_digest_sees_one_flipped_bit_and_not_the_memory_order() -> None:
    maps = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    assert digest(maps) == digest(np.asfortranarray(maps))
    changed = maps.copy()
    changed.view(np.uint16)[1, 2, 3] ^= 1
    assert digest(maps) != digest(changed)


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
    assert rows.to_bytes() == table.to_bytes()
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
        "features", "frame_index", "state", "digest", "frame_count", "fps", "reason", "rows",
    }  # fmt: skip


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

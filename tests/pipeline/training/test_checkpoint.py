"""Checkpoints: all that repeats a run, and none that is damaged or edited."""

import dataclasses
import errno
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick_runs import (
    QUICK,
    as_of_an_older_ta2n,
    header,
    make_cache,
    train,
    write_raw,
)
from safetensors.torch import load_file

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.manifest import Manifest
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    checksum_of,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return make_cache(tmp_path_factory.mktemp("c"))


@pytest.fixture(scope="module")
def trained(cache: FeatureCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(cache, tmp_path_factory.mktemp("runs") / "trained", epochs=1).folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_checkpoint_says_how_to_repeat_the_run(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    about = load_checkpoint(tmp_path / "a").metadata
    assert about["settings"] == {**dataclasses.asdict(QUICK), "epochs": 1}
    assert Manifest.from_dict(about["manifest"], source="a") == cache.manifest
    assert about["manifest_hash"] == cache.manifest.hash()
    assert about["split_hash"] == cache.videos.hash()
    assert set(about["versions"]) == {"ta2n", "torch", "python"}


def test_a_checkpoint_of_an_older_ta2n_can_still_be_used(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    stored = load_checkpoint(tmp_path / "a")
    older = {name: value for name, value in stored.metadata.items() if name != "manifest"}
    save_checkpoint(tmp_path / BEST, Checkpoint(stored.tensors, older))
    found = load_checkpoint(tmp_path)
    found.require_features(cache.manifest.features(), source=tmp_path, store=cache.path)
    assert all(torch.equal(found.build().state_dict()[name], value) for name, value in stored.tensors.items())


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no checkpoint there"):
        load_checkpoint(tmp_path)
    (tmp_path / BEST).write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a ta2n checkpoint"):
        load_checkpoint(tmp_path)


def test_tensors_and_header_come_back_with_the_checksum_that_was_written(run: Path, tmp_path: Path) -> None:
    for name in (BEST, LAST):
        stored = read_checkpoint(run / name)
        assert stored.checksum == header(run / name)["sha256"] == checksum_of(stored.tensors, stored.metadata)
        assert stored.notes() == []
        save_checkpoint(tmp_path / name, stored)
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()


TENSORS = {
    "one": torch.tensor(3.0),
    "none": torch.empty(0, 4),
    "half": torch.arange(3).to(torch.bfloat16),
    "whole": torch.arange(4).reshape(2, 2),
    "yes": torch.tensor([True, False]),
}


@pytest.mark.parametrize("name", [name for name in TENSORS if TENSORS[name].numel()])
def test_every_change_of_a_tensor_changes_the_checksum(name: str) -> None:
    whole = checksum_of(TENSORS, {"epoch": 1})
    tensor = TENSORS[name]
    changed = torch.logical_not(tensor) if tensor.dtype == torch.bool else tensor + 1
    others = [changed, tensor[None], tensor.to(torch.float64)]
    assert whole not in {checksum_of({**TENSORS, name: other}, {"epoch": 1}) for other in others}
    renamed = {("other" if key == name else key): value for key, value in TENSORS.items()}
    assert whole not in (checksum_of(renamed, {"epoch": 1}), checksum_of(TENSORS, {"epoch": 2}))
    assert whole == checksum_of(dict(reversed(TENSORS.items())), {"epoch": 1})


@pytest.mark.parametrize("name", [BEST, LAST])
@pytest.mark.parametrize("number", range(10))
def test_a_flipped_bit_of_the_tensors_is_refused(cache: FeatureCache, run: Path, name: str, number: int) -> None:
    data = bytearray((run / name).read_bytes())
    generator = np.random.default_rng(number)
    behind = 8 + int.from_bytes(data[:8], "little")
    data[int(generator.integers(behind, len(data)))] ^= 1 << int(generator.integers(8))
    (run / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_checkpoint(run / name)
    assert f"{run / name}: damaged or edited" in str(caught.value)
    assert "\n" not in str(caught.value)
    # A run does not go on from it, nor with it.
    with pytest.raises(InputError, match=re.escape(f"{name}: damaged or edited")):
        train(cache, run, epochs=2)


@pytest.mark.parametrize("name", [BEST, LAST])
@pytest.mark.parametrize("number", range(10))
def test_a_flipped_bit_of_the_header_is_refused_or_changes_nothing(run: Path, name: str, number: int) -> None:
    whole = read_checkpoint(run / name)
    data = bytearray((run / name).read_bytes())
    generator = np.random.default_rng(number)
    places = np.arange(8, 8 + int.from_bytes(data[:8], "little"))
    key = data.index(b"sha256")  # without its name it is a checkpoint without a checksum, of the same values
    data[int(generator.choice(places[(places < key) | (places >= key + 6)]))] ^= 1 << int(generator.integers(8))
    (run / name).write_bytes(data)
    try:
        found = read_checkpoint(run / name)
    except InputError as error:
        refused = str(error)
    else:  # a flip of a far digit of a number is none
        refused = f"{run / name}: "
        assert found.metadata == whole.metadata
        assert all(torch.equal(found.tensors[key], tensor) for key, tensor in whole.tensors.items())
    assert refused.startswith(f"{run / name}: ")
    assert "\n" not in refused


def edited(values: dict[str, Any], path: str, value: object) -> None:
    *names, last = path.split(".")
    for name in names:
        values = values[name]
    if value is None:
        del values[last]
    else:
        values[last] = value


EDITS: list[tuple[str, object, str]] = [
    ("head", None, "has no head"),
    ("features", None, "has no features"),
    ("settings", None, "has no settings"),
    ("progress", None, "has no progress"),
    ("versions", None, "has no versions"),
    ("dataset", None, "has no dataset"),
    ("manifest_hash", None, "has no manifest_hash"),
    ("split_hash", None, "has no split_hash"),
    ("head.name", None, "has no head.name"),
    ("head.channels", None, "has no head.channels"),
    ("progress.best_epoch", None, "has no progress.best_epoch"),
    ("head", ["protonet"], r"head is \['protonet'\], expected a mapping"),
    ("features", "resnet50", "features is 'resnet50', expected a mapping"),
    ("settings", 3, "settings is 3, expected a mapping"),
    ("manifest", [], r"manifest is \[\], expected a mapping"),
    ("clips", [], r"clips is \[\], expected a mapping"),
    ("dataset", 3, "dataset is 3, expected a text"),
    ("head.channels", "6", "head.channels is '6', expected a whole number"),
    ("head.channels", True, "head.channels is True, expected a whole number"),
    ("head.frames", 4.0, "head.frames is 4.0, expected a whole number"),
    ("head.size", 0, "head.size is 0, expected at least 1"),
    ("head.name", "protonets", "no head named 'protonets'"),
    ("head.project", "4", "head cannot be built"),
    ("head.metric", "euclid", "head cannot be built"),
    ("head.tc", False, "has no option tc"),
    ("head.channels", 7, r"'projection.weight' is float32 \(4, 6\), expected float32 \(4, 7\)"),
    ("head.project", 0, "'projection.weight' is not one of what its header describes"),
    ("settings.way", "five", "settings.way is 'five', expected int"),
    ("settings.shot", 0, "settings.shot is 0, expected 1 to 10000"),
    ("settings.learning_rate", [], r"settings.learning_rate is \[\], expected"),
    ("progress.best_epoch", -1, "progress.best_epoch is -1, expected at least 0"),
    ("progress.val", ["a"], r"progress.val is \['a'\], expected numbers"),
    ("progress.history", [3], r"progress.history is \[3\], expected mappings"),
    ("progress.terms", [], r"progress.terms is \[\], expected a mapping"),
]


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize(("path", "value", "message"), EDITS)
def test_an_edited_header_is_one_line_that_names_file_and_field(
    run: Path, path: str, value: object, message: str, checked: bool
) -> None:
    values, tensors = header(run / BEST), load_file(run / BEST)
    edited(values, path, value)
    if not checked:  # as an older ta2n wrote it
        del values["sha256"]
    write_raw(run / BEST, tensors, values)
    with pytest.raises(InputError) as caught:
        load_checkpoint(run).build()
    text = str(caught.value)
    assert str(run / BEST) in text
    assert "\n" not in text
    assert re.search(message, text) or (checked and "damaged or edited" in text)


@pytest.mark.parametrize("values", [[], "text", 3, None, {}])
def test_a_header_that_is_no_mapping_or_empty(tmp_path: Path, values: object) -> None:
    write_raw(tmp_path / BEST, {"weight": torch.zeros(2)}, values)
    with pytest.raises(InputError, match=r"best\.safetensors: not a"):
        load_checkpoint(tmp_path)


def test_tensors_that_are_not_the_heads(run: Path) -> None:
    values = header(run / BEST)
    del values["sha256"]
    weight = load_file(run / BEST)["projection.weight"]
    for tensors, message in (
        ({}, "tensor 'projection.weight' is missing"),
        ({"projection.weight": weight, "more": weight.clone()}, "tensor 'more' is not one"),
        ({"projection.weight": weight.double()}, r"is float64 \(4, 6\), expected float32 \(4, 6\)"),
        ({"projection.weight": weight.T.contiguous()}, r"is float32 \(6, 4\), expected float32 \(4, 6\)"),
    ):
        write_raw(run / BEST, tensors, values)
        with pytest.raises(InputError, match=message):
            load_checkpoint(run).build()


def test_one_without_a_checksum_is_used_and_said_to_be(cache: FeatureCache, run: Path) -> None:
    before = load_checkpoint(run)
    for name in (BEST, LAST):
        as_of_an_older_ta2n(run / name)
    found = load_checkpoint(run)
    assert found.checksum == ""
    assert len(found.notes()) == 1
    assert f"{run / BEST} carries no checksum" in found.notes()[0]
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in before.tensors.items())
    notes: list[str] = []
    train(cache, run, epochs=2, on_note=notes.append)
    assert sum("carries no checksum" in line for line in notes) == 2


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save_checkpoint(tmp_path / BEST, Checkpoint({"weight": torch.zeros(2)}, {}))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / BEST))
    assert list(tmp_path.iterdir()) == []


def test_what_training_continues_from_is_no_head(run: Path) -> None:
    with pytest.raises(InputError, match=r"last\.safetensors: is what training continues from; the head is in best"):
        load_checkpoint(run / LAST).build()


SAVING = """
import os, sys
from pathlib import Path
import torch
from ta2n.pipeline.training.checkpoint import Checkpoint, save_checkpoint

def killed(self, data):
    with self.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        os.kill(os.getpid(), 9)

Path.write_bytes = killed
save_checkpoint(Path(sys.argv[1]), Checkpoint({"weight": torch.zeros(1000)}, {}))
"""


def test_a_kill_while_it_is_written_leaves_the_old_one_and_what_the_next_run_removes(
    cache: FeatureCache, run: Path
) -> None:
    before = (run / BEST).read_bytes()
    ended = subprocess.run([sys.executable, "-c", SAVING, str(run / BEST)], check=False)
    assert ended.returncode == -9
    assert (run / BEST).read_bytes() == before
    names = {BEST, LAST, "metrics.jsonl"}
    assert {file.name for file in run.iterdir()} == {*names, f".{BEST}.partial"}
    train(cache, run, epochs=1)
    assert {file.name for file in run.iterdir()} == names

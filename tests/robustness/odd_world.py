"""The folder that odd calls are made in: clips, stores and a run that are sound, and files that are not what they say.

Everything is made by the commands themselves, so that the scripts need nothing of the tests.
"""

import hashlib
import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from ta2n.cli.app import app

CLASSES = 5
CLIPS = 4


def make_world(folder: Path) -> None:
    """Makes the folder; a few seconds."""
    folder.mkdir()
    here = Path.cwd()
    os.chdir(folder)
    try:
        _make_clips(Path("clips"))
        _make_features(Path("foreign.h5"))
        _call("cache", "import", "foreign.h5", "feats", "--features", "feats", "--labels", "y", "--splits", "split")
        _call("cache", "export", "feats", "toy.h5")
        _call("train-head", "--cache", "feats", "--method", "protonet", "--project", "2", "--out", "run",
              "--way", "2", "--queries", "1", "--epochs", "1", "--episodes", "2", "--val-episodes", "2")  # fmt: skip
        _call("evaluate", "--cache", "feats", "--method", "protonet", "--way", "2", "--test-episodes", "5",
              "--episodes-file", "list.json")  # fmt: skip
        _make_odd_files()
    finally:
        os.chdir(here)


def entries(folder: Path) -> dict[str, str]:
    """Every entry below a folder, by its path below it: what it is, and a hash of what it holds."""
    found: dict[str, str] = {}
    for name, folders, files in os.walk(folder):
        for one in folders:
            found[os.path.relpath(f"{name}/{one}", folder)] = "folder"
        for one in files:
            path = Path(name, one)
            held = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else "link"
            found[os.path.relpath(path, folder)] = held
    return found


def _call(*words: str) -> None:
    made = CliRunner().invoke(app, list(words))
    if made.exit_code:
        raise RuntimeError(f"ta2n {' '.join(words)}: {made.output}")


def _make_clips(root: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("jump", "run", "sit"):
        for clip in range(2):
            folder = root / label / str(clip)
            folder.mkdir(parents=True)
            for frame in range(2):
                Image.fromarray(generator.integers(0, 255, (24, 32, 3), np.uint8)).save(folder / f"{frame}.jpg")


def _make_features(file: Path) -> None:
    """Frame features of three splits of classes."""
    count = 3 * CLASSES * CLIPS
    generator = np.random.default_rng(1)
    label = np.repeat(np.arange(3 * CLASSES), CLIPS)
    with h5py.File(file, "w") as made:
        made["feats"] = (generator.standard_normal((count, 4, 6)) + label[:, None, None]).astype(np.float32)
        made["y"] = label
        made["split"] = np.repeat(["train", "val", "test"], CLASSES * CLIPS).astype(h5py.string_dtype())
        made["ids"] = [f"clip-{row}" for row in range(count)]
        made["twice"] = ["clip"] * count
        made["short"] = label[:-1]


def _make_odd_files() -> None:
    Path("empty").write_bytes(b"")
    Path("text.txt").write_text("hello\n")
    Path("binary").write_bytes(bytes(range(256)) * 20)
    Path("deep.json").write_text("[" * 100_000 + "]" * 100_000)
    Path("list-of-lists.json").write_text("[[1, 2], [3]]")
    Path("number.json").write_text("NaN")
    Path("splits.json").write_text(json.dumps({"train": ["jump"], "val": ["run"], "test": ["sit"]}))
    Path("classes-gone.json").write_text(json.dumps({"train": ["jump"], "val": ["walk"], "test": ["sit"]}))
    Path("twice.json").write_text('{"train": ["jump"], "train": ["run"]}')
    Path("recipe.toml").write_text('protocol = "trx"\n[train]\nlr = 0.01\n')
    Path("odd-recipe.toml").write_text('[train]\nlr = inf\nway = "five"\n')
    Path("deep-recipe.toml").write_text("a = " + "[" * 5000 + "]" * 5000 + "\n")
    Path("cut.h5").write_bytes(Path("toy.h5").read_bytes()[:2000])
    Path("text.h5").write_text("no HDF5")
    Path("cut.safetensors").write_bytes(Path("run/best.safetensors").read_bytes()[:100])
    Path("folder.h5").mkdir()
    Path("empty-folder").mkdir()
    Path("x[b]\x1b[31m").mkdir()
    Path(os.fsdecode(b"caf\xe9")).mkdir()
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere/at/all")
    torch.save(torch.nn.Linear(2, 2), "module.pth")
    torch.save({"state_dict": {"a": torch.zeros(1)}, "model": {"a": torch.zeros(1)}}, "two.pth")
    Path("pickle.pth").write_bytes(pickle.dumps({"a": 1}))

"""Fine-tuning in a second: a backbone of two convolutions, clips of a few pixels, their store, and a trained head."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import ta2n
from ta2n.cache_schema.errors import MissingError
from ta2n.pipeline.features import backbones, networks

NAME, SIDE, CHANNELS = "tiny", 28, 8
EXTRACT: dict[str, Any] = {"backbone": NAME, "weights": "random", "resize": "32x36", "workers": 1}
SHORT: dict[str, Any] = {"way": 2, "queries": 1, "episodes": 4, "epochs": 2, "val_episodes": 6}
TUNE: dict[str, Any] = {"episodes": 4, "epochs": 2, "val_episodes": 6, "workers": 1, "device": "cpu"}


def tiny_weights(name: str, weights: str | None, seed: int) -> tuple[nn.Module, str]:
    """The network with weights drawn from a seed; a file of its weights holds the seed."""
    label = f"random (seed {seed})"
    if weights not in (None, "random"):
        file = Path(str(weights))
        if not file.is_file():
            raise MissingError(f"{file}: no such weights file")
        label, seed = file.name, int(file.read_text())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tiny_network(), label


def tiny_network() -> nn.Module:
    """(B, 3, 28, 28) -> (B, 8, 7, 7), with batch norm, in two stages; its running averages are not those of a start."""
    return nn.Sequential(OrderedDict(first=_stage(3, 6), second=_stage(6, CHANNELS)))


def _part(network: nn.Module, after: str | None, until: str) -> nn.Module:
    names = ["first", "second"]
    inside = names[0 if after is None else names.index(after) + 1 : names.index(until) + 1]
    return nn.Sequential(OrderedDict((name, network.get_submodule(name)) for name in inside))


def _stage(channels: int, out: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(out)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    nn.init.normal_(norm.running_mean, std=0.1)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False), norm, nn.ReLU())


@contextmanager
def registered() -> Iterator[None]:
    """Makes the backbone one that can be asked for by name."""
    layers = {"first": (6, 14), "second": (CHANNELS, 7)}
    networks.NETWORKS[NAME] = networks.Network(build=tiny_network, layers=layers, part=_part, image_size=SIDE)
    backbones._LOADERS[NAME] = tiny_weights
    try:
        yield
    finally:
        del networks.NETWORKS[NAME], backbones._LOADERS[NAME]


def write_clips(root: Path, *, classes: int = 3, clips: int = 4, frames: int = 6) -> Path:
    """Folders of frames, ``{train,val,test}/class/clip``: a colour for each class, noise for each clip."""
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label in range(classes):
            colour = generator.integers(0, 200, 3)
            for clip in range(clips):
                folder = root / split / f"{split}{label}" / f"clip{clip}"
                folder.mkdir(parents=True)
                for frame in range(frames):
                    image = colour + generator.integers(0, 56, (40, 44, 3))
                    Image.fromarray(image.astype(np.uint8)).save(folder / f"{frame}.png")
    return root


def made(folder: Path, *, frames: int = 4, method: str = "protonet", **changes: Any) -> Path:
    """Clips, their store in ``feats``, and a head trained on it in ``head``; the folder of all three."""
    ta2n.extract(write_clips(folder / "clips"), folder / "feats", frames=frames, **EXTRACT)
    ta2n.train_head(folder / "feats", method, out=folder / "head", **{**SHORT, "project": 4, **changes})
    return folder


def tune(folder: Path, out: Path, **changes: Any) -> Any:
    """Fine-tunes the head of :func:`made`, or an untrained one where ``method`` is given."""
    start = {} if "method" in changes else {"checkpoint": folder / "head"}
    return ta2n.finetune(folder / "feats", out=out, **{**TUNE, **start, **changes})

"""Runs as fine-tuning leaves them, made without any training: a trained head beside a backbone of other weights."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from ta2n.cache_schema.manifest import Manifest
from ta2n.pipeline.features.backbones import load_unfolded, weights_sha256
from ta2n.pipeline.features.tuned import plain_spec
from ta2n.pipeline.training.checkpoint import BEST, Checkpoint, load_checkpoint, save_checkpoint


def write_clips(root: Path, *, classes: int = 6, clips: int = 2) -> Path:
    """Classes of clips of three small frames each, told apart by their colour."""
    for number in range(classes):
        for clip in range(clips):
            folder = root / f"class{number}" / str(clip)
            folder.mkdir(parents=True)
            for frame in range(3):
                colour = (40 * number, 255 - 30 * number, 60 * frame + clip)
                Image.new("RGB", (40, 30), colour).save(folder / f"{frame}.png")
    return root


def tuned_resnet18(seed: int = 1) -> nn.Module:
    """The random ResNet-18 of seed 0, with all its weights moved a little."""
    network = load_unfolded("resnet18", "random").module
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.from_numpy(0.01 * generator.standard_normal(parameter.shape).astype(np.float32)))
    return network


def make_tuned(head_run: Path, folder: Path, network: nn.Module) -> Path:
    """A fine-tuned run: the head of a run on features of the random ResNet-18, with another backbone beside it."""
    stored = load_checkpoint(head_run)
    made = Manifest.from_dict(stored.metadata["manifest"], source="test")
    label, digest = f"{made.weights}, fine-tuned ({folder.name})", weights_sha256(network)
    manifest = dataclasses.replace(made, weights=label, weights_sha256=digest)
    spec = dataclasses.replace(load_unfolded("resnet18", "random").spec, weights=label, weights_sha256=digest)
    metadata = {
        **stored.metadata,
        "backbone": plain_spec(dataclasses.replace(spec, source=None)),
        "manifest": manifest.to_dict(),
        "manifest_hash": manifest.hash(),
        "features": manifest.features(),
    }
    tensors = {**stored.tensors, **{f"backbone.{name}": one for name, one in network.state_dict().items()}}
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, Checkpoint(tensors, metadata))
    return folder

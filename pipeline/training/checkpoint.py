"""Checkpoints: safetensors files whose header holds everything needed to repeat the run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.heads import Head, build_head

BEST = "best.safetensors"
LAST = "last.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A trained head as stored.

    Attributes:
        tensors: its state dict.
        metadata: plain JSON values: ``head`` (what :func:`build_head` takes), ``settings`` of the training run, the
            whole ``manifest`` of the features (so that what made the maps can be made again; an older ta2n wrote none),
            ``manifest_hash`` and ``split_hash`` of the cache, ``versions``, and where in the run it was taken.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    def build(self) -> Head:
        """The head, with its weights, in evaluation mode on the CPU."""
        head = build_head(**self.metadata["head"])
        head.load_state_dict(self.tensors)
        return head.eval()

    def require_features(self, features: Mapping[str, Any], *, source: Path, store: Path) -> None:
        """Refuses features that the head was not trained on.

        Args:
            features: :meth:`Manifest.features` of the store that the head shall be used on.
            source: the checkpoint, in the error.
            store: the store, in the error.

        Raises:
            InputError: they differ; the message names how.
        """
        mine = self.metadata["features"]
        # What an older ta2n did not write down cannot be compared.
        differing = sorted(name for name in mine if mine[name] != features.get(name))
        if differing:
            pairs = "; ".join(f"{name}: {mine.get(name)} -> {features.get(name)}" for name in differing)
            raise InputError(f"{source}: was trained on other features than {store} holds ({pairs})")


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint under its final name in one step."""
    partial = file.with_name(f".{file.name}.partial")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    safetensors.torch.save_file(tensors, partial, metadata={"ta2n": to_json(checkpoint.metadata)})
    partial.replace(file)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Reads a checkpoint from its file, or the best one of a run's folder.

    Raises:
        MissingError: there is none.
        InputError: the file is not a ta2n checkpoint.
    """
    path = Path(path)
    file = path / BEST if path.is_dir() else path
    if not file.is_file():
        raise MissingError(f"{file}: no checkpoint there; `ta2n train-head --out {path}` makes one")
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            metadata = json.loads((stored.metadata() or {})["ta2n"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{file}: not a ta2n checkpoint ({error})") from error
    return Checkpoint(tensors, metadata)

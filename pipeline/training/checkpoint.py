"""Checkpoints: safetensors files whose header holds everything needed to repeat the run, and a checksum of it all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.heads import Head, build_head
from ta2n.pipeline.training.header import check_head, check_run

if TYPE_CHECKING:
    from ta2n.pipeline.features.backbones import Backbone

BEST = "best.safetensors"
LAST = "last.safetensors"
_KEY, _CHECKSUM = "ta2n", "sha256"


@dataclass(frozen=True)
class Checkpoint:
    """A trained head as stored; a fine-tuned run's has its backbone too.

    Attributes:
        tensors: its state dict; the backbone's under ``backbone.``.
        metadata: plain JSON values: ``head`` (what :func:`build_head` takes), ``settings`` of the training run, the
            whole ``manifest`` of the features (so that what made the maps can be made again; an older ta2n wrote none),
            ``manifest_hash`` and ``split_hash`` of the cache, ``clips`` that it was trained and selected on,
            ``versions``, and where in the run it was taken; of a fine-tuned run ``backbone``, its
            :class:`~ta2n.pipeline.features.plan.BackboneSpec` as plain values.
        file: that it was read from; None where it was not.
        checksum: SHA-256 of tensors and metadata that the file carries; empty where an older ta2n wrote it without.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    file: Path | None = None
    checksum: str = ""

    def build(self) -> Head:
        """The head, with its weights, in evaluation mode on the CPU.

        Raises:
            InputError: its options make no head, or the tensors are not that head's.
        """
        if self.file and self.file.name == LAST:
            raise InputError(f"{self.file}: is what training continues from; the head is in {BEST} beside it")
        try:
            head = build_head(**self.metadata["head"])
        except Exception as error:  # whatever a constructor makes of an odd option
            raise InputError(f"{self._name}: its header's head cannot be built: {_one_line(error)}") from error
        tuned = "backbone" in self.metadata
        own = {name: one for name, one in self.tensors.items() if not (tuned and name.startswith("backbone."))}
        load_weights(head, own, self._name)
        return head.eval()

    def backbone(self) -> "Backbone":
        """The backbone that was tuned with the head, frozen, on the CPU.

        Raises:
            InputError: the run tuned none, or the tensors are not that backbone's.
        """
        from ta2n.pipeline.training.finetune.start import tuned_backbone  # torchvision is slow to import

        return tuned_backbone(self)

    def notes(self) -> list[str]:
        """Lines that a user of the checkpoint should know of."""
        if self.checksum:
            return []
        return [f"note: {self._name} carries no checksum (an older ta2n wrote it), so damage to it cannot be seen"]

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

    @property
    def _name(self) -> str:
        return str(self.file or "the checkpoint")


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, with its checksum, under its final name in one step.

    Raises:
        OSError: it cannot be written; what was written of it is removed.
    """
    partial = partial_of(file)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    # One text, as safetensors writes several in any order.
    header = to_json({_CHECKSUM: checksum_of(tensors, checkpoint.metadata), **checkpoint.metadata})
    try:
        # Not its save_file: a kill there leaves a file of a name that nobody knows.
        partial.write_bytes(safetensors.torch.save(tensors, metadata={_KEY: header}))
        partial.replace(file)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(file)) from error  # a full disk's error names no file
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Reads a head's checkpoint from its file, or the best one of a run's folder.

    Raises:
        MissingError: there is none.
        InputError: the file is not a ta2n checkpoint, or it is damaged or edited.
    """
    path = Path(path)
    file = path / BEST if path.is_dir() else path
    if not file.is_file():
        raise MissingError(f"{file}: no checkpoint there; `ta2n train-head --out {path}` makes one")
    return read_checkpoint(file, of_head=True)


def read_checkpoint(file: Path, *, of_head: bool = False) -> Checkpoint:
    """Reads the checkpoint of any task.

    Args:
        file: it.
        of_head: whether its header must say how a head is built.

    Raises:
        InputError: the file is not a ta2n checkpoint, or it is damaged or edited.
    """
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            metadata = json.loads((stored.metadata() or {})[_KEY])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise InputError(f"{file}: not a ta2n checkpoint ({_one_line(error)})") from error
    checksum = metadata.pop(_CHECKSUM, None) if isinstance(metadata, dict) else None
    check_run(metadata, file)
    if of_head:
        check_head(metadata, file)
    # An older ta2n wrote none.
    if checksum is not None and (found := checksum_of(tensors, metadata)) != checksum:
        raise InputError(
            f"{file}: damaged or edited: it carries the checksum {str(checksum)[:12]}, and what it holds has "
            f"{found[:12]}; take a copy of it, or train again"
        )
    return Checkpoint(tensors, metadata, file, checksum or "")


def checksum_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, and over the metadata as JSON."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\t{tensor.dtype}\t{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    # Once through JSON, so that what is written has the digest of what is read: (1, 2) becomes [1, 2].
    digest.update(to_json(json.loads(to_json(metadata)), sort_keys=True).encode())
    return digest.hexdigest()


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Gives a module its weights.

    Args:
        module: to be given them.
        tensors: its state dict.
        source: where they are from, in the error.

    Raises:
        InputError: a tensor is missing, is too many, or is of another shape or type; the message names it.
    """
    wanted = module.state_dict()
    for name in (*wanted, *tensors):
        if name not in tensors:
            raise InputError(f"{source}: its tensor {name!r} is missing; take a copy of it, or train again")
        if name not in wanted:
            raise InputError(f"{source}: its tensor {name!r} is not one of what its header describes")
        found, mine = tensors[name], wanted[name]
        if (found.shape, found.dtype) != (mine.shape, mine.dtype):
            raise InputError(
                f"{source}: its tensor {name!r} is {_described(found)}, expected {_described(mine)} by its header"
            )
    module.load_state_dict(dict(tensors))


def partial_of(file: Path) -> Path:
    """What a file is called while it is written."""
    return file.with_name(f".{file.name}.partial")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

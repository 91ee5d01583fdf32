"""The backbone of a run of ``ta2n finetune``, as extraction takes it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.backbones import Backbone
from ta2n.pipeline.features.networks import at_layer
from ta2n.pipeline.features.plan import BackboneSpec
from ta2n.pipeline.features.tuned import spec_of, tuned_backbone
from ta2n.pipeline.training.checkpoint import load_checkpoint

_OF_THE_RUN = ("backbone", "weights")


@dataclass(frozen=True)
class TunedRun:
    """A fine-tuned run, as extraction takes it.

    Attributes:
        spec: of its backbone; its weights are called after the run, its source is the checkpoint.
        tensors: of its checkpoint.
        metadata: of its checkpoint.
    """

    spec: BackboneSpec
    tensors: Mapping[str, Tensor] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)

    def backbone(self, layer: str | None) -> Backbone:
        """The frozen network up to a layer, the last where None is named.

        Raises:
            InputError: there is no such layer, or the tensors are others than the header says.
        """
        return tuned_backbone(at_layer(self.spec, layer), self.tensors)

    def as_trained(self, frames_too: bool) -> dict[str, Any]:
        """How the run took its frames, on which its head is at home, by the fields of ``ExtractSettings``.

        Args:
            frames_too: whether nobody named a protocol, which says itself how frames are taken.
        """
        found = {"backbone": self.spec.name, "weights": self.spec.weights, "layer": self.spec.layer}
        manifest = self.metadata.get("manifest", {})
        sampling, preprocessing = manifest.get("sampling", {}), manifest.get("preprocessing", {})
        found |= {name: sampling[name] for name in ("frames", "frame_pattern") if name in sampling}
        return found | (_of_frames(self.spec, sampling, preprocessing) if frames_too else {})


def _of_frames(spec: BackboneSpec, sampling: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    found = {"rule": sampling["rule"]} if "rule" in sampling else {}
    if "resize" in preprocessing:
        sides = preprocessing["resize"]
        found["resize"] = f"short-{sides}" if isinstance(sides, int) else "x".join(map(str, sides))
    if "mean" in preprocessing:
        found["normalise"] = "backbone" if list(preprocessing["mean"]) == list(spec.mean) else "none"
    return found


def tuned_run(path: Path, said: Mapping[str, Any]) -> TunedRun:
    """Reads a run.

    Args:
        path: its folder, or its checkpoint.
        said: what the caller and the recipe say of extraction, by field.

    Raises:
        MissingError: there is no checkpoint.
        InputError: it is damaged or holds no backbone, or another backbone was asked for.
    """
    if beside := [name for name in _OF_THE_RUN if said.get(name) is not None]:
        flags = " and ".join(f"--{name}" for name in beside)
        raise InputError(f"{flags} beside --checkpoint {path}: the run has a backbone of its own; give one of the two")
    stored = load_checkpoint(path)
    file = (stored.file or path).absolute()
    if "backbone" not in stored.metadata:
        raise InputError(
            f"{file}: holds a head alone, no backbone; give a run of `ta2n finetune`, or leave --checkpoint out"
        )
    spec = spec_of(stored.metadata["backbone"], source=str(file))
    spec = dataclasses.replace(spec, weights_source=_words(stored.metadata))
    return TunedRun(spec, stored.tensors, stored.metadata)


def _words(metadata: Mapping[str, Any]) -> str:
    """What a run was, and where the weights that it began with come from."""
    settings, head = metadata["settings"], metadata["head"]["name"]
    said = [f"{settings.get('way')}-way {settings.get('shot')}-shot", f"seed {settings.get('seed')}"]
    said += [f"{name} {settings[name]}" for name in ("trainable",) if settings.get(name) is not None]
    tuned = f"ta2n finetune on {metadata['dataset']} with {head}, {', '.join(said)}"
    before = metadata.get("manifest", {}).get("weights_source")
    return f"{tuned}; before that: {before}" if before else tuned

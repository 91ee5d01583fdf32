"""The manifest: what the features of one store are, so that two kinds are never mixed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ta2n.cache_schema.errors import DamagedCacheError

SCHEMA_VERSION = 2

# What version 1 did not know, and had: every field that came later.
_SINCE_1: dict[str, Any] = {"precision": "float32", "grid": None, "class_token": False, "weights_source": ""}
_RECORDED = ("ta2n_version", "weights_source")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that decides the value of a cached feature map.

    Attributes:
        dataset: name of the data set, which is also the name of the store.
        split_hash: SHA-256 over every row's id, class and split (:meth:`VideoTable.hash`).
        backbone: name of the network, e.g. ``resnet50``.
        weights: name of its weights, e.g. ``imagenet1k-v1``, a file's name, or ``random (seed 0)``.
        weights_sha256: SHA-256 over the names and bytes of the weights in use.
        layer: the layer whose output is stored.
        preprocessing: resize, crop, normalisation; plain JSON values.
        sampling: the frame rule, the number of frames T and the seed of the random views.
        decoder: name and version of what decoded the frames.
        views: one line per view; view 0 is the deterministic test view.
        precision: in which the network computed: ``float32``, ``bfloat16`` or ``float16``.
        grid: side to which larger maps were pooled; None where they are as the network gives them.
        class_token: whether the network's class token is stored beside its maps.
        weights_source: where the weights come from, and their licence. Recorded, but not compared.
        ta2n_version: who wrote the store. Recorded, but not compared: a change of format raises the schema version.
        schema_version: version of the on-disk format.
    """

    dataset: str
    split_hash: str
    backbone: str
    weights: str
    weights_sha256: str
    layer: str
    preprocessing: Mapping[str, Any]
    sampling: Mapping[str, Any]
    decoder: str
    views: tuple[str, ...]
    ta2n_version: str
    precision: str = "float32"
    grid: int | None = None
    class_token: bool = False
    weights_source: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The manifest as plain JSON values."""
        return {**dataclasses.asdict(self), "views": list(self.views)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str) -> "Manifest":
        """Parses a stored manifest; ``source`` names the store in errors.

        Raises:
            DamagedCacheError: a field is missing or unknown, or the schema version is not ours.
        """
        version = values.get("schema_version")
        if version not in (1, SCHEMA_VERSION):
            raise DamagedCacheError(
                f"{source}: its schema version is {version!r}, this ta2n reads 1 and {SCHEMA_VERSION}; use the ta2n "
                "that wrote it"
            )
        values = {**(_SINCE_1 if version == 1 else {}), **values}
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            odd = ", ".join(sorted(names.symmetric_difference(values)))
            raise DamagedCacheError(f"{source}: its manifest misses or adds these fields: {odd}")
        _check_kinds(values, source)
        return cls(**{**values, "views": tuple(values["views"])})

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to share a store: every field that is not only recorded."""
        return {name: value for name, value in self.to_dict().items() if name not in _RECORDED}

    def features(self) -> dict[str, Any]:
        """What must be equal for a head trained on one store to be used on another."""
        names = ("backbone", "weights_sha256", "layer")
        same = {name: getattr(self, name) for name in names} | {"rule": self.sampling.get("rule")}
        same |= {} if self.grid is None else {"grid": self.grid}
        return same | {name: self.preprocessing.get(name) for name in ("resize", "crop", "mean", "std")}

    def hash(self) -> str:
        """SHA-256 of :meth:`identity`, the same on every machine."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def difference(self, other: "Manifest") -> list[str]:
        """One line per differing field: ``name: mine -> other's``, nested mappings field by field."""
        return _difference(self.identity(), other.identity())


def _check_kinds(values: Mapping[str, Any], source: str) -> None:
    """Refuses a manifest whose values are of another kind than its fields."""
    kinds: dict[str, Any] = {"preprocessing": Mapping, "sampling": Mapping, "views": list, "schema_version": int}
    kinds |= {"grid": int | None, "class_token": bool}
    for name, value in values.items():
        if not isinstance(value, kinds.get(name, str)):
            raise DamagedCacheError(f"{source}: the field {name!r} of its manifest is {value!r}, which it cannot be")
    if not values["views"]:
        raise DamagedCacheError(f"{source}: its manifest names no view")


def _difference(mine: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for name in sorted(mine.keys() | other.keys()):
        left, right = mine.get(name), other.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += _difference(left, right, f"{prefix}{name}.")
        elif left != right:
            lines.append(f"{prefix}{name}: {left} -> {right}")
    return lines

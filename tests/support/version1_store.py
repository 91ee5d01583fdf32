"""Turns a store of today into one as version 1 of the format had it, to be read and upgraded."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ta2n.cache_schema.layout import array, open_store

LATER_FIELDS = ("precision", "grid", "class_token", "weights_source")


def downgrade(path: Path) -> Path:
    """Rewrites a store where it stands, by what docs/cache-format.md said of version 1; returns its path."""
    group, manifest, videos = open_store(path, write=True)
    features, state, digests = (array(group, name) for name in ("features", "state", "digest"))
    for row, view in np.argwhere(state[:] == 1).tolist():
        raw = np.ascontiguousarray(features[row, view], "<f2").tobytes()
        digests[row, view] = int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
    names = ("id", "path", "label", "split")
    columns = {name: getattr(videos, name).tolist() for name in names}
    text = json.dumps({"root": videos.root, **columns}, ensure_ascii=False).encode()
    lines = "\n".join("\t".join(row) for row in zip(columns["id"], columns["label"], columns["split"], strict=True))
    old: dict[str, Any] = {name: value for name, value in manifest.to_dict().items() if name not in LATER_FIELDS}
    old |= {"schema_version": 1, "split_hash": hashlib.sha256(lines.encode()).hexdigest()}
    for name in ("videos", "decoder", "concealed"):
        shutil.rmtree(path / name)
    rows = np.frombuffer(text, np.uint8)
    zarr.create_array(path / "rows", data=rows, chunks=rows.shape, compressors=None, filters=None, zarr_format=3)
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"] = {"ta2n": old}
    (path / "zarr.json").write_text(json.dumps(root))
    return path

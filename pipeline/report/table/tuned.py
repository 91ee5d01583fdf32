"""Fine-tuned runs for the table: found by what they say of themselves, tested on the store of their own features."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.config.stored import from_stored
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.report.table.episodes import TestEpisodes, TestSplit
from ta2n.pipeline.report.table.failures import Failure, attempt
from ta2n.pipeline.report.table.kept import OnNote
from ta2n.pipeline.report.table.tested import MethodResult, result_of, untrained_accuracies
from ta2n.pipeline.training.checkpoint import BEST, load_checkpoint
from ta2n.pipeline.training.settings import Settings

_DEPTH = 4
_PLAIN = "protonet"


@dataclass(frozen=True)
class TunedResult:
    """A fine-tuned run on the features of its own backbone.

    Attributes:
        run: its head.
        plain: untrained ProtoNet on the same features and episodes: the accuracy of each, 0 to 1. Where it is as good,
            the backbone gained and not the head.
    """

    run: MethodResult
    plain: NDArray[np.float64] = field(repr=False, compare=False)


@dataclass(frozen=True)
class FoundRun:
    """A run in a folder, by its header.

    Attributes:
        folder: of the run.
        dataset: that it was trained on.
        method: name of its head.
        shot: K.
        seed: of its training.
        weights_sha256: of the backbone whose features its head goes with.
    """

    folder: Path
    dataset: str
    method: str
    shot: int
    seed: int
    weights_sha256: str


@dataclass(frozen=True)
class TunedRuns:
    """What there is of fine-tuned runs.

    Attributes:
        folder: that was looked in.
        beside: where stores were looked for, too.
        runs: in the order of their folders.
        stores: their paths, by data set and SHA-256 of the backbone's weights.
    """

    folder: Path
    beside: Path
    runs: tuple[FoundRun, ...]
    stores: Mapping[tuple[str, str], Path]


def find_tuned(folder: Path, beside: Path) -> TunedRuns:
    """Looks for fine-tuned runs, and for stores of their backbones' features.

    Args:
        folder: of runs, some levels deep; it need not be there.
        beside: a folder of stores; those in the folders next to it are seen too.
    """
    runs = tuple(found for file in _below(folder, BEST) if (found := _found_run(file)))
    stores: dict[tuple[str, str], Path] = {}
    if runs:
        for path in [*_below(folder, "*.zarr"), *sorted(beside.glob("*.zarr")), *_below(beside.parent, "*.zarr", 1)]:
            opened = attempt(partial(FeatureCache.open, path))
            if not isinstance(opened, Failure):
                stores.setdefault((opened.manifest.dataset, opened.manifest.weights_sha256), path)
    return TunedRuns(folder, beside, runs, stores)


def _below(folder: Path, pattern: str, depth: int = _DEPTH) -> Iterator[Path]:
    for level in range(depth + 1):
        yield from sorted(folder.glob("*/" * level + pattern))


def _found_run(file: Path) -> FoundRun | None:
    """What a checkpoint says of itself; None where it holds a head alone, or cannot be read."""
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            header = json.loads((stored.metadata() or {})["ta2n"])
        if "backbone" not in header:
            return None
        return FoundRun(
            file.parent,
            str(header["dataset"]),
            str(header["head"]["name"]),
            int(header["settings"]["shot"]),
            int(header["settings"].get("seed", 0)),
            str(header["features"]["weights_sha256"]),
        )
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError):
        return None


def tuned_results(
    found: TunedRuns,
    dataset: str,
    method: str,
    shot: int,
    *,
    test: TestEpisodes,
    device: torch.device,
    scratch: Scratch | None = None,
    check: bool = True,
    on_note: OnNote | None = None,
) -> tuple[TunedResult, ...]:
    """Tests the fine-tuned runs of a method with a number of shots, one a seed, each on its own features.

    Args:
        found: what there is.
        dataset: that they are of.
        method: of the head.
        shot: K.
        test: the test episodes.
        device: where heads run.
        scratch: where what does not fit in memory goes.
        check: whether each map is compared with its digest when it is first read.
        on_note: gets lines worth knowing.

    Raises:
        InputError: there is no such run, there are several of one seed, or the store of a backbone's features is not
            there; the message says what makes it.
    """
    runs = [one for one in found.runs if (one.dataset, one.method, one.shot) == (dataset, method, shot)]
    if not found.runs:
        raise InputError(f"no fine-tuned checkpoint in {found.folder}")
    if not runs:
        raise InputError(f"no fine-tuned checkpoint of this method and number of shots in {found.folder}")
    _require_one_a_seed(runs)
    stores = [_store_of(one, found) for one in runs]
    results = []
    for one, store in zip(runs, stores, strict=True):
        tests, settings = TestSplit(FeatureCache.open(store, check=check), test), _settings_of(one)
        tested = partial(_tested, tests, settings, one.folder, device=device, scratch=scratch, on_note=on_note)
        results.append(tested())
    return tuple(results)


def _tested(tests: TestSplit, settings: Settings, folder: Path, **how: Any) -> TunedResult:
    result = result_of(tests, settings, folder, **how)
    return TunedResult(result, untrained_accuracies(tests, settings, folder, _PLAIN, **how))


def _require_one_a_seed(runs: list[FoundRun]) -> None:
    by_seed: dict[int, FoundRun] = {}
    for one in runs:
        if one.seed in by_seed:
            raise InputError(
                f"two fine-tuned runs of seed {one.seed}, {by_seed[one.seed].folder} and {one.folder}; give a folder "
                "with one of them as --finetuned"
            )
        by_seed[one.seed] = one


def _store_of(run: FoundRun, found: TunedRuns) -> Path:
    store = found.stores.get((run.dataset, run.weights_sha256))
    if store is None:
        raise InputError(
            f"{run.folder}: there is no store of its backbone's features (weights {run.weights_sha256[:12]}) in "
            f"{found.folder}, {found.beside} or next to it; make it with `ta2n extract --dataset {run.dataset} "
            f"--checkpoint {run.folder} --cache {run.folder}`"
        )
    return store


def _settings_of(run: FoundRun) -> Settings:
    """The settings of a run that decide its test; fine-tuning has further ones."""
    stored = load_checkpoint(run.folder).metadata["settings"]
    known = {one.name for one in dataclasses.fields(Settings)}
    return from_stored(Settings, {name: stored[name] for name in stored if name in known}, source=run.folder)

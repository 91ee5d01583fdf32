"""``ta2n train-head`` in Python: what would be trained, and one head trained."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ta2n.cache_schema.disk import naming, require_folder, require_text
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.machine import torch_device
from ta2n.pipeline.commands.reporting import AnyPath, OnNote, OnProgress, Step, path_of, tell
from ta2n.pipeline.commands.settings import require_used, run_settings
from ta2n.pipeline.commands.stores import open_cache
from ta2n.pipeline.commands.tables import TRAIN, chosen
from ta2n.pipeline.config.options import takes
from ta2n.pipeline.config.resolve import Chosen, given_fields, make, recipe_fields, resolve
from ta2n.pipeline.config.testing import EvaluateSettings
from ta2n.pipeline.evaluation.scratch import Scratch, scratch_folder
from ta2n.pipeline.training import loop
from ta2n.pipeline.training.settings import Progress, Settings

_TEST = (EvaluateSettings,)


@dataclass(frozen=True)
class TrainPlan:
    """What a call of :func:`train_head` will do.

    Attributes:
        cache: the store.
        protocol: name of the protocol.
        runs: one for each method and number of shots.
        folder: of the run, or of the runs' folders.
        device: where the heads run.
        test: the test episodes, for several runs.
        scratch: where what does not fit in memory goes.
    """

    cache: FeatureCache
    protocol: str
    runs: tuple[Settings, ...]
    folder: Path
    device: torch.device
    test: EvaluateSettings
    scratch: Scratch


def plan_training(
    cache: AnyPath = "feats",
    methods: Sequence[str] = ("ta2n",),
    shots: Sequence[int] = (1,),
    *,
    out: AnyPath | None = None,
    dataset: str | None = None,
    options: Mapping[str, Any] | None = None,
    test_episodes: int | None = None,
    protocol: str | None = None,
    recipe: AnyPath | None = None,
    split_file: AnyPath | None = None,
    scratch: AnyPath | None = None,
    check: bool = True,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    on_note: OnNote | None = None,
) -> TrainPlan:
    """What would be trained, for every number of shots and every method.

    Args:
        cache: a store, or a folder of stores.
        methods: names of heads.
        shots: numbers of shots K.
        out: folder of the run; None makes it from the settings.
        dataset: which store of the folder.
        options: further options of the head, by name.
        test_episodes: of several runs; None is the recipe's or the protocol's.
        protocol: name of the protocol.
        recipe: a TOML file of settings.
        split_file: a JSON file of classes by split.
        scratch: folder for what does not fit in memory; None is beside the run.
        check: whether each map is compared with its digest when it is first read.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: options of training by the names of the flags, with underscores.
        on_note: gets lines worth knowing.

    Raises:
        MissingError: there is no store, or no such file.
        InputError: an option does not exist, or cannot be what it was given as.
    """
    asked = chosen(protocol, path_of(recipe))
    tell(asked.notes, on_note)
    require_used(settings or {}, methods)
    opened = open_cache(Path(cache), dataset, path_of(split_file), check=check, on_note=on_note)
    where = torch_device(device)

    def found(method: str, shot: int) -> tuple[Settings, list[str]]:
        said = {**(settings or {}), "shot": shot}
        return run_settings(
            opened, method, asked.protocol, said, asked.recipe.train, device=where, head_options=options
        )

    pairs = [found(method, shot) for shot in shots for method in methods]
    # Several runs have notes in common, which are told once.
    tell(dict.fromkeys(line for _, notes in pairs for line in notes), on_note)
    runs = tuple(run for run, _ in pairs)
    folder = require_folder(path_of(out) or _usual_folder(opened, runs), "--out")
    require_text(str(folder), "checkpoints could not be read from there")
    room = Scratch(scratch_folder(path_of(scratch), beside=folder), on_note)
    return TrainPlan(opened, asked.name, runs, folder, where, _test_of(runs[0], asked, test_episodes), room)


def _test_of(run: Settings, asked: Chosen, test_episodes: int | None) -> EvaluateSettings:
    """The test episodes of several runs: of their way and seed."""
    said, _ = given_fields(_TEST, {"test_episodes": test_episodes})
    shape = {"way": run.way, "shot": run.shot, "seed": run.seed}
    return make(
        EvaluateSettings, resolve(_TEST, [shape, said, recipe_fields(_TEST, asked.recipe.test)], asked.protocol)
    )


def _usual_folder(cache: FeatureCache, runs: Sequence[Settings]) -> Path:
    first = runs[0]
    what = f"{first.way}way" if len(runs) > 1 else f"{first.method}-{first.way}way-{first.shot}shot"
    return Path("runs") / f"{cache.manifest.dataset}-{what}-seed{first.seed}"


@takes(*TRAIN)
def train_head(
    cache: AnyPath = "feats",
    method: str = "ta2n",
    *,
    out: AnyPath | None = None,
    dataset: str | None = None,
    options: Mapping[str, Any] | None = None,
    cache_in: str = "auto",
    protocol: str | None = None,
    recipe: AnyPath | None = None,
    split_file: AnyPath | None = None,
    scratch: AnyPath | None = None,
    check: bool = True,
    device: str = "auto",
    on_note: OnNote | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> loop.Result:
    """Trains a head on a feature store; a stopped run is continued by the same call.

    Args:
        cache: a store, or a folder of stores.
        method: name of the head.
        out: folder of the run; None makes it from the settings.
        dataset: which store of the folder.
        options: further options of the head, by name.
        cache_in: where the maps are while training: ``auto``, ``disk``, ``ram`` or ``device``.
        protocol: name of the protocol.
        recipe: a TOML file of settings.
        split_file: a JSON file of classes by split.
        scratch: folder for what does not fit in memory; None is beside the run.
        check: whether each map is compared with its digest when it is first read.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        on_note: gets lines worth knowing.
        on_progress: gets how far training is, after each episode.
        settings: ``way``, ``shot``, ``lr`` and the other flags of ``ta2n train-head --help``, with underscores.

    Returns:
        How the run ended; the folder that it names is a checkpoint.

    Raises:
        MissingError: there is no store, or no such file.
        InputError: an option cannot be what it was given as, a split cannot give the episodes, the folder holds
            another run, or training diverged.
    """
    shot = settings.pop("shot", None)
    plan = plan_training(
        cache,
        [method],
        [1 if shot is None else shot],
        out=out,
        dataset=dataset,
        options=options,
        protocol=protocol,
        recipe=recipe,
        split_file=split_file,
        scratch=scratch,
        check=check,
        device=device,
        settings=settings,
        on_note=on_note,
    )
    return train_planned(plan, cache_in=cache_in, on_note=on_note, on_progress=on_progress)


def train_planned(
    plan: TrainPlan, *, cache_in: str = "auto", on_note: OnNote | None = None, on_progress: OnProgress | None = None
) -> loop.Result:
    """Trains the one run of a plan: see :func:`train_head`."""
    settings = plan.runs[0]
    total = settings.epochs * settings.episodes_per_epoch

    def episode(state: Progress) -> None:
        if on_progress:
            text = f"loss {state.loss:.3f}, accuracy {100 * state.accuracy:.1f} %"
            on_progress(Step("training", state.episode, total, "episodes", text))

    def epoch(state: Progress) -> None:
        if on_note and settings.val_episodes:
            number = state.episode // settings.episodes_per_epoch
            on_note(f"epoch {number}: val {100 * state.val[-1]:.2f} %, best {100 * state.best_val:.2f} %")

    with naming(plan.folder):
        return loop.train_head(
            plan.cache,
            settings,
            plan.folder,
            device=plan.device,
            place=cache_in,
            scratch=plan.scratch,
            on_episode=episode,
            on_epoch=epoch,
            on_note=on_note,
        )


def described(settings: Settings) -> str:
    """The settings of a run in one line."""
    return ", ".join(f"{name}={value}" for name, value in dataclasses.asdict(settings).items())

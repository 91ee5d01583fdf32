"""``ta2n evaluate`` in Python: accuracy of a head with its interval, and of a second one on the same episodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ta2n.cache_schema.disk import require_file
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.contenders import Contender, Score, from_checkpoint, from_method, measure
from ta2n.pipeline.commands.machine import torch_device
from ta2n.pipeline.commands.reporting import AnyPath, OnNote, OnProgress, path_of, tell
from ta2n.pipeline.commands.stores import open_cache
from ta2n.pipeline.commands.tables import chosen
from ta2n.pipeline.config.options import one_option, takes
from ta2n.pipeline.config.protocols import Protocol
from ta2n.pipeline.config.resolve import given_fields, make, recipe_fields, resolve
from ta2n.pipeline.config.testing import EvaluateSettings
from ta2n.pipeline.episodes import Episodes, EpisodeSequence
from ta2n.pipeline.episodes.files import EpisodeList, load_episodes, save_episodes
from ta2n.pipeline.evaluation.classes import SplitClasses, classes_of
from ta2n.pipeline.evaluation.metrics import Estimate, paired_difference
from ta2n.pipeline.evaluation.scratch import Scratch, scratch_folder

_TEST = (EvaluateSettings,)
_MOST_GB = 1_000_000


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        dataset: name of the data set.
        split: that the episodes are of.
        protocol: name of the protocol.
        settings: way, shot, queries, number and seed of the episodes.
        classes: of the split: those that the episodes are of, and those left out for too few usable clips.
        scores: of the head, and of the one that it was compared with.
    """

    dataset: str
    split: str
    protocol: str
    settings: EvaluateSettings
    classes: SplitClasses
    scores: tuple[Score, ...]

    @property
    def videos(self) -> int:
        """Clips that the episodes are drawn from."""
        return self.classes.videos

    @property
    def accuracy(self) -> Estimate:
        """Mean and 95 % interval of the first head."""
        return self.scores[0].accuracy

    @property
    def difference(self) -> Estimate | None:
        """First − second, episode by episode; None where there is no second."""
        if len(self.scores) == 1:
            return None
        return paired_difference(self.scores[0], self.scores[1])


@takes(*_TEST)
def evaluate(
    cache: AnyPath = "feats",
    *,
    checkpoint: AnyPath | None = None,
    method: str | None = None,
    against: AnyPath | None = None,
    dataset: str | None = None,
    split: str = "test",
    options: Mapping[str, Any] | None = None,
    project: int | None = None,
    protocol: str | None = None,
    recipe: AnyPath | None = None,
    split_file: AnyPath | None = None,
    memory: float | None = None,
    episodes_file: AnyPath | None = None,
    scratch: AnyPath | None = None,
    check: bool = True,
    device: str = "auto",
    on_note: OnNote | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> Evaluation:
    """Measures accuracy with its 95 % interval; the same seed gives every method the same episodes.

    Args:
        cache: a store, or a folder of stores.
        checkpoint: the folder of a run, or a checkpoint file.
        method: name of a head as it is before training, instead of a checkpoint.
        against: a second checkpoint or method, compared episode by episode.
        dataset: which store of the folder.
        split: ``train``, ``val`` or ``test``.
        options: further options of the head of ``method``, by name.
        project: channels of a projection in front of the head of ``method``.
        protocol: name of the protocol.
        recipe: a TOML file of settings.
        split_file: a JSON file of classes by split.
        memory: GB for what is computed once per video; None is half of what is free.
        episodes_file: a list of episodes: used where it is there, else written.
        scratch: folder for what does not fit in memory; None is the one that the store is in.
        check: whether each map is compared with its digest when it is first read.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        on_note: gets lines worth knowing.
        on_progress: gets how far the evaluation of each head is.
        settings: ``way``, ``shot``, ``queries``, ``test_episodes`` and ``seed``.

    Returns:
        What was found.

    Raises:
        MissingError: there is no store, no checkpoint, or no such file.
        InputError: not one of ``checkpoint`` and ``method`` is given, or an option cannot be what it was given as.
    """
    if (checkpoint is None) == (method is None):
        raise InputError("give either --checkpoint RUN or --method NAME")
    if memory is not None and not 0 <= memory <= _MOST_GB:
        raise InputError(f"memory is {memory}, expected 0 to {_MOST_GB} GB")
    if checkpoint is not None and (options or project is not None):
        raise InputError("--option and --project make the head of --method; the head of a --checkpoint is made already")
    asked = chosen(protocol, path_of(recipe))
    said, notes = given_fields(_TEST, settings)
    tell((*asked.notes, *notes), on_note)
    where = torch_device(device)
    opened = open_cache(Path(cache), dataset, path_of(split_file), check=check, on_note=on_note)
    room = Scratch(scratch_folder(path_of(scratch), beside=opened.path), on_note)
    seed = said.get("seed", 0)
    if checkpoint is not None:
        first = from_checkpoint(Path(checkpoint), opened, on_note=on_note)
    else:
        first = from_method(str(method), opened, project=project, options=options, seed=seed)
    contenders = [first] if against is None else [first, _second(against, opened, seed, on_note)]
    file = None if episodes_file is None else require_file(Path(episodes_file), "--episodes-file")
    drawn: EpisodeSequence
    if file is not None and file.exists():
        drawn, shape = _listed(file, opened, split, said, on_note)
    else:
        shape = _shape(said, recipe_fields(_TEST, asked.recipe.test), first, asked.protocol)
        drawn = _drawn(file, opened, split, shape, on_note)
    scores = tuple(
        measure(one, opened, drawn, shape.episodes, device=where, memory=memory, scratch=room, on_progress=on_progress)
        for one in contenders
    )
    return Evaluation(opened.manifest.dataset, split, asked.name, shape, _classes(opened, split, shape, drawn), scores)


def _classes(cache: FeatureCache, split: str, shape: EvaluateSettings, drawn: EpisodeSequence) -> SplitClasses:
    listed = None
    if isinstance(drawn, EpisodeList):
        listed = np.unique(np.concatenate([one.support for one in drawn.take(shape.episodes)]))
    return classes_of(cache, split, needed=shape.shot + shape.queries, listed=listed)


def _second(against: AnyPath, cache: FeatureCache, seed: int, on_note: OnNote | None) -> Contender:
    # A run's folder may be called like a method; what is on disk is meant then.
    if Path(against).exists():
        return from_checkpoint(Path(against), cache, on_note=on_note)
    return from_method(str(against), cache, seed=seed)


def _shape(
    said: Mapping[str, Any], recipe: Mapping[str, Any], first: Contender, protocol: Protocol
) -> EvaluateSettings:
    """The episodes: as the caller says, else the recipe, else as the first head was trained, else the protocol."""
    trained = {name: first.trained_with[name] for name in ("way", "shot") if name in first.trained_with}
    return make(EvaluateSettings, resolve(_TEST, [said, recipe, trained], protocol))


def _drawn(
    file: Path | None, cache: FeatureCache, split: str, shape: EvaluateSettings, on_note: OnNote | None
) -> Episodes:
    """The episodes of a seed; written to a file where one is named."""
    drawn = Episodes(
        cache.labels(split),
        way=shape.way,
        shot=shape.shot,
        queries=shape.queries,
        seed=shape.seed,
        name=f"the {split} split",
    )
    if file is not None:
        ids, labels = cache.videos.id.tolist(), cache.videos.label.tolist()
        dataset = cache.manifest.dataset
        digest = save_episodes(file, drawn, shape.episodes, dataset=dataset, split=split, ids=ids, labels=labels)
        tell([f"{file} was not there: wrote {shape.episodes} episodes to it (sha256 {digest[:12]})"], on_note)
    return drawn


def _listed(
    file: Path, cache: FeatureCache, split: str, said: Mapping[str, Any], on_note: OnNote | None
) -> tuple[EpisodeSequence, EvaluateSettings]:
    """The episodes of a file, and what they are.

    Raises:
        InputError: the caller asks for something else.
    """
    ids, classes, labels = cache.videos.id.tolist(), cache.videos.label.tolist(), cache.labels(split).tolist()
    found = load_episodes(file, ids=ids, labels=labels, classes=classes, split=split)
    numbers: dict[str, int] = {name: getattr(found, name) for name in ("way", "shot", "queries", "seed")}
    numbers["episodes"] = len(found.episodes)
    for name, value in said.items():
        fewer = name == "episodes" and value <= numbers["episodes"]
        if value != numbers[name] and not fewer:
            flag = one_option(EvaluateSettings, name).flag.replace("_", "-")
            raise InputError(
                f"{file}: its episodes have {name} {numbers[name]}, --{flag} asks for {value}; leave it out"
            )
    if found.dataset != cache.manifest.dataset:
        tell([f"note: {file} is of {found.dataset}, and is used on {cache.manifest.dataset}"], on_note)
    tell([f"{file}: {numbers['episodes']} episodes (sha256 {found.sha256[:12]})"], on_note)
    return found, EvaluateSettings(**{**numbers, "episodes": said.get("episodes", numbers["episodes"])})

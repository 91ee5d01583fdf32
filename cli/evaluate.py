"""``ta2n evaluate``."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli import options
from ta2n.cli.console import duration, note, print_json, progress, stdout, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.episodes import Episodes, EpisodeSequence
    from ta2n.pipeline.episodes.files import EpisodeList
    from ta2n.pipeline.heads import Head


@dataclass
class Contender:
    """One head to be evaluated: a checkpoint's, or a method as it is before training."""

    name: str
    head: "Head"
    frames: int
    trained_with: dict[str, Any]


def evaluate(
    cache: options.Cache = Path("feats"),
    checkpoint: Annotated[
        Path | None, typer.Option(help="A run of train-head, or a checkpoint file.", metavar="PATH")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="A method as it is before training, instead of a checkpoint.", metavar="NAME")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A second checkpoint or method, compared episode by episode.", metavar="PATH|NAME"),
    ] = None,
    dataset: options.Dataset = None,
    split: Annotated[str, typer.Option(help="train, val or test.", metavar="NAME")] = "test",
    way: Annotated[int | None, typer.Option(help="Classes N. [default: as trained, or 5]", min=2)] = None,
    shot: Annotated[int | None, typer.Option(help="Support clips K. [default: as trained, or 1]", min=1)] = None,
    queries: Annotated[
        int | None, typer.Option(help="Query clips of a class. [default: the protocol's]", min=1)
    ] = None,
    episodes: Annotated[int | None, typer.Option(help="How many. [default: the protocol's]", min=1)] = None,
    project: options.Project = None,
    option: options.HeadOptions = None,
    protocol: options.ProtocolName = None,
    recipe: options.RecipeFile = None,
    split_file: options.SplitFile = None,
    memory: Annotated[
        float | None,
        typer.Option(help="GB for what is computed once per video. [default: half of what is free]", min=0),
    ] = None,
    episodes_file: Annotated[
        Path | None,
        typer.Option(
            help="A list of episodes: used where it is there, else written with those of this call. .gz is packed.",
            metavar="FILE",
        ),
    ] = None,
    device: options.Device = "auto",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the episodes, and of an untrained method. [default: 0]", min=0)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure accuracy with its 95 % interval; the same seed gives every method the same episodes.

    Example: ta2n evaluate --cache ./feats --checkpoint runs/clips-ta2n-5way-1shot-seed0 --against protonet
    """
    if (checkpoint is None) == (method is None):
        raise InputError("give either --checkpoint RUN or --method NAME")
    from ta2n.pipeline.config.recipes import first_given

    called, chosen, read = options.chosen(protocol, recipe)
    opened = options.open_cache(cache, dataset, split_file)
    first = (
        from_checkpoint(checkpoint, opened)
        if checkpoint is not None
        else from_method(str(method), opened, option, project, seed or 0)
    )
    contenders = [first]
    if against is not None:
        # A run's folder may be called like a method; what is on disk is meant then.
        path = Path(against)
        second = from_checkpoint(path, opened) if path.exists() else from_method(against, opened, None, None, seed or 0)
        contenders.append(second)
    flags = {"way": way, "shot": shot, "queries": queries, "episodes": episodes, "seed": seed}
    drawn: EpisodeSequence
    if episodes_file is not None and episodes_file.exists():
        drawn, numbers = _listed(episodes_file, opened, split, flags)
    else:
        usual = {"way": 5, "shot": 1, "queries": chosen.test_queries, "episodes": chosen.test_episodes, "seed": 0}
        trained: dict[str, Any] = {
            name: first.trained_with[name] for name in ("way", "shot") if name in first.trained_with
        }
        numbers = first_given(flags, read.test, trained, usual)
        drawn = _drawn(episodes_file, opened, split, numbers)
    usable = int((opened.labels(split) >= 0).sum())
    title = (
        f"{opened.manifest.dataset}, {split} ({usable} clips): {numbers['way']}-way {numbers['shot']}-shot, "
        f"{numbers['episodes']} episodes of {numbers['queries']} queries a class, seed {numbers['seed']}"
    )
    count = numbers["episodes"]
    results, seconds = zip(
        *(measure(one, opened, drawn, count, device=device, memory=memory) for one in contenders), strict=True
    )
    _report(title, contenders, list(results), list(seconds), numbers | {"split": split, "protocol": called}, as_json)


def _drawn(file: Path | None, cache: "FeatureCache", split: str, numbers: dict[str, Any]) -> "Episodes":
    """The episodes of a seed; written to a file where one is named."""
    from ta2n.pipeline.episodes import Episodes
    from ta2n.pipeline.episodes.files import save_episodes

    shape = {name: numbers[name] for name in ("way", "shot", "queries", "seed")}
    drawn = Episodes(cache.labels(split), **shape, name=f"the {split} split")
    if file is not None:
        ids, labels = cache.videos.id.tolist(), cache.videos.label.tolist()
        dataset = cache.manifest.dataset
        digest = save_episodes(file, drawn, numbers["episodes"], dataset=dataset, split=split, ids=ids, labels=labels)
        note(f"{file} was not there: wrote {numbers['episodes']} episodes to it (sha256 {digest[:12]})")
    return drawn


def _listed(
    file: Path, cache: "FeatureCache", split: str, flags: dict[str, int | None]
) -> "tuple[EpisodeList, dict[str, Any]]":
    """The episodes of a file, and what they are.

    Raises:
        InputError: a flag asks for something else.
    """
    from ta2n.pipeline.episodes.files import load_episodes

    found = load_episodes(file, ids=cache.videos.id.tolist(), labels=cache.labels(split).tolist())
    names = ("way", "shot", "queries", "seed")
    numbers: dict[str, Any] = {name: getattr(found, name) for name in names} | {"episodes": len(found.episodes)}
    for name, value in flags.items():
        fewer = name == "episodes" and value is not None and value <= numbers["episodes"]
        if value is not None and value != numbers[name] and not fewer:
            raise InputError(
                f"{file}: its episodes have {name} {numbers[name]}, --{name} asks for {value}; leave it out"
            )
    if found.dataset != cache.manifest.dataset:
        note(f"note: {file} is of {found.dataset}, and is used on {cache.manifest.dataset}")
    note(f"{file}: {numbers['episodes']} episodes (sha256 {found.sha256[:12]})")
    return found, numbers | {"episodes": flags["episodes"] or numbers["episodes"]}


def from_checkpoint(path: Path, cache: "FeatureCache") -> Contender:
    """The head of a checkpoint.

    Raises:
        InputError: it was trained on other features than the store holds.
    """
    from ta2n.pipeline.training.checkpoint import load_checkpoint

    stored = load_checkpoint(path)
    about = stored.metadata
    stored.require_features(cache.manifest.features(), source=path, store=cache.path)
    if about["dataset"] != cache.manifest.dataset:
        note(f"note: {path} was trained on {about['dataset']}, and is tested on {cache.manifest.dataset}")
    elif about["split_hash"] != cache.videos.hash():
        note(f"note: {path} was trained with other splits than {cache.path} has now; did it train on a test class?")
    return Contender(f"{about['head']['name']} ({path})", stored.build(), about["head"]["frames"], about["settings"])


def from_method(name: str, cache: "FeatureCache", texts: list[str] | None, project: int | None, seed: int) -> Contender:
    """A method as it is before training."""
    from ta2n.pipeline.heads import build_head

    frames = options.default_frames(cache)
    channels, _, size, _ = cache.map_shape
    arguments = options.head_arguments(name, texts, project)
    head = build_head(name, channels=channels, frames=frames, size=size, seed=seed, **arguments)
    untrained = any(parameter.requires_grad for parameter in head.parameters())
    return Contender(f"{name} (untrained)" if untrained else name, head, frames, {})


def measure(
    one: Contender, cache: "FeatureCache", drawn: Any, count: int, *, device: str, memory: float | None = None
) -> tuple["NDArray[np.float64]", float]:
    """Accuracy of each episode, and the seconds that all of them took; ``memory`` in GB."""
    from ta2n.pipeline.cache.loader import MapLoader
    from ta2n.pipeline.evaluation.evaluate import evaluate as run_stage

    where = options.torch_device(device)
    loader = MapLoader(cache, frames=one.frames, device=where)
    start = time.monotonic()
    with progress(f"evaluating {one.name}", count, "episodes") as bar:
        accuracies = run_stage(
            one.head.to(where),
            loader,
            drawn,
            count,
            memory_bytes=None if memory is None else int(memory * 1e9),
            on_episodes=bar,
        )
    return accuracies, time.monotonic() - start


def _report(
    title: str,
    contenders: list[Contender],
    results: list["NDArray[np.float64]"],
    seconds: list[float],
    numbers: dict[str, Any],
    as_json: bool,
) -> None:
    from ta2n.pipeline.evaluation.metrics import estimate, paired_difference

    means = [estimate(values) for values in results]
    difference = paired_difference(results[0], results[1]) if len(results) > 1 else None
    if as_json:
        print_json(
            {
                **numbers,
                "episodes": len(results[0]),
                "results": [
                    {"method": one.name, "accuracy": mean.mean, "interval": mean.interval, "seconds": round(spent, 3)}
                    for one, mean, spent in zip(contenders, means, seconds, strict=True)
                ],
                "paired_difference": {"mean": difference.mean, "interval": difference.interval} if difference else None,
            }
        )
        return
    rows = [
        [one.name, mean.percent(), duration(spent)] for one, mean, spent in zip(contenders, means, seconds, strict=True)
    ]
    stdout().print(table(title, ["method", "accuracy", "time"], rows))
    if difference:
        stdout().print(f"paired difference, first - second: {difference.percent(signed=True)}", markup=False)

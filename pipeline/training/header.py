"""What the header of a checkpoint must hold: checked here and nowhere else, before anything is made of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.config.options import options
from ta2n.pipeline.training.finetune.settings import FineTuneSettings
from ta2n.pipeline.training.settings import Settings

_Kinds = Mapping[str, tuple[type, ...]]

_RUN: _Kinds = {"settings": (dict,), "progress": (dict,), "versions": (dict,)}
_PROGRESS: _Kinds = {"episode": (int,), "best_val": (int, float), "best_epoch": (int,), "val": (list,)}
_OF_A_HEAD: _Kinds = {
    "head": (dict,),
    "dataset": (str,),
    "features": (dict,),
    "manifest_hash": (str,),
    "split_hash": (str,),
}
_HEAD: _Kinds = {"name": (str,), "channels": (int,), "frames": (int,), "size": (int,)}
# An older ta2n did not write all of these, and only fine-tuning has a backbone.
_WHERE_PRESENT: _Kinds = {"manifest": (dict,), "clips": (dict,), "backbone": (dict,)}
_PROGRESS_WHERE_PRESENT: _Kinds = {"loss": (int, float), "accuracy": (int, float), "terms": (dict,), "history": (list,)}
_WORDS = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number", float: "a number"}


def check_run(metadata: Any, file: Path) -> None:
    """Refuses a header that does not say of which run a checkpoint is, and where in it.

    Args:
        metadata: the header, as read from JSON.
        file: the checkpoint, in the error.

    Raises:
        InputError: a field is missing, or is of another kind; the message names it.
    """
    if not isinstance(metadata, dict):
        raise InputError(f"{file}: not a ta2n checkpoint (its header is {_shown(metadata)}, expected a mapping)")
    _require(metadata, _RUN, file)
    _require(metadata, _present(_WHERE_PRESENT, metadata), file)
    progress = metadata["progress"]
    _require(progress, {**_PROGRESS, **_present(_PROGRESS_WHERE_PRESENT, progress)}, file, within="progress")
    for name in ("episode", "best_epoch"):
        if progress[name] < 0:
            raise InputError(f"{file}: its header's progress.{name} is {progress[name]}, expected at least 0")
    for name, kinds in (("val", (int, float)), ("history", (dict,))):
        if not all(_is(value, kinds) for value in progress.get(name, [])):
            what = _WORDS[kinds[-1]].removeprefix("a ")
            raise InputError(f"{file}: its header's progress.{name} is {_shown(progress[name])}, expected {what}s")


def check_head(metadata: Mapping[str, Any], file: Path) -> None:
    """Refuses a run's header that does not say how its head is built, and of which features and clips it is.

    Args:
        metadata: a header that :func:`check_run` let pass.
        file: the checkpoint, in the error.

    Raises:
        InputError: a field is missing, of another kind, or out of its range; the message names it.
    """
    _require(metadata, _OF_A_HEAD, file)
    _require(metadata["head"], _HEAD, file, within="head")
    for name in ("channels", "frames", "size"):
        if metadata["head"][name] < 1:
            raise InputError(f"{file}: its header's head.{name} is {metadata['head'][name]}, expected at least 1")
    settings = metadata["settings"]
    for one in options(FineTuneSettings if "backbone" in metadata else Settings):
        problem = one.problem(settings[one.field]) if one.field in settings else None
        if problem:
            raise InputError(f"{file}: its header's settings.{one.field} {problem}")


def _require(values: Mapping[str, Any], kinds: _Kinds, file: Path, *, within: str = "") -> None:
    prefix = f"{within}." if within else ""
    for name, kind in kinds.items():
        if name not in values:
            raise InputError(f"{file}: not a usable checkpoint: its header has no {prefix}{name}")
        if not _is(values[name], kind):
            raise InputError(
                f"{file}: not a usable checkpoint: its header's {prefix}{name} is {_shown(values[name])}, expected "
                f"{_WORDS[kind[-1]]}"
            )


def _present(kinds: _Kinds, values: Mapping[str, Any]) -> _Kinds:
    return {name: kind for name, kind in kinds.items() if name in values}


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    # True and False are whole numbers to Python.
    return isinstance(value, kinds) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value in so few words that the message stays one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

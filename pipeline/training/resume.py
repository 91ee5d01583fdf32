"""Whether the run in a folder is the one that is asked for, and where in it the asked one ends."""

import dataclasses
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.heads import HEADS
from ta2n.pipeline.training.clips import clip_changes
from ta2n.pipeline.training.settings import Progress, Settings

# Epochs and patience decide where a run stops, not what it passes through.
_ONLY_WHERE_IT_STOPS = ("epochs", "patience")
# Who wrote a store and in which version of the format decides no value; which clips it holds is compared by clip.
_NOT_OF_THE_VALUES = ("ta2n_version", "schema_version", "split_hash")


def changes(stored: Mapping[str, Any], wanted: Mapping[str, Any], settings: Settings) -> str:
    """What differs between two runs, name by name; empty where they are one.

    Both are compared as JSON has them, so that (2, 3) is [2, 3]. What a checkpoint lacks because there was no such
    field when it was written is taken for the field's default. Clips are left to :func:`changed_clips`.

    Args:
        stored: the metadata of a run's checkpoint.
        wanted: that of the run that is asked for.
        settings: of the run that is asked for; its class has the defaults.
    """
    usual = _defaults(settings)
    wanted = json.loads(to_json(wanted))
    sections = ["settings", *(name for name in wanted if name != "settings")]
    told: list[str] = []
    seen: set[str] = set()
    for section in sections:
        if section in _not_compared(stored):
            continue
        if section not in stored:
            told.append(f"{section}: not written down")
            continue
        pairs = _differing(*_comparable(section, stored[section], wanted[section], usual))
        # The head repeats options of the settings.
        new = [pair for pair in pairs if pair.removeprefix("options.") not in seen]
        seen |= {pair.removeprefix("options.") for pair in new}
        if new:
            told.append(f"{section}: {', '.join(new)}")
    return "; ".join(told)


def changed_clips(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What differs between the clips of two runs, by name; empty where nothing does, or one run knows of none."""
    if "clips" not in stored or "clips" not in wanted:
        return ""
    return "; ".join(clip_changes(stored["clips"], wanted["clips"]))


def _not_compared(stored: Mapping[str, Any]) -> set[str]:
    """The hashes of what a checkpoint has in full, to be compared by name instead."""
    left_out = {"clips"}
    left_out |= {"manifest_hash"} if "manifest" in stored else {"manifest"}
    return left_out | ({"split_hash"} if "clips" in stored else set())


def _comparable(section: str, stored: Any, wanted: Any, usual: Mapping[str, Any]) -> tuple[Any, Any]:
    """Both with defaults for what was not written down, and without what decides nothing."""
    if not isinstance(stored, dict) or not isinstance(wanted, dict):
        return stored, wanted
    if section == "settings":
        return _filled_settings(stored, usual), _filled_settings(wanted, usual)
    if section == "head":
        return _filled_options(stored, stored.get("name")), _filled_options(wanted, wanted.get("name"))
    if section in ("manifest", "features"):
        both = [name for name in wanted if name in stored and name not in _NOT_OF_THE_VALUES]
        return {name: stored[name] for name in both}, {name: wanted[name] for name in both}
    return stored, wanted


def _defaults(settings: Settings) -> dict[str, Any]:
    """The defaults of the fields of a settings class, as JSON has them."""
    fields = [field for field in dataclasses.fields(settings) if field.default is not dataclasses.MISSING]
    plain: dict[str, Any] = json.loads(to_json({field.name: field.default for field in fields}))
    return plain


def _filled_settings(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    filled = {name: value for name, value in {**usual, **values}.items() if name not in _ONLY_WHERE_IT_STOPS}
    options = filled.get("options", {})
    known = _filled_options(options, filled.get("method")) if isinstance(options, dict) else options
    return filled | {"options": known}


def _filled_options(values: Mapping[str, Any], method: Any) -> dict[str, Any]:
    """A head's options, with its own defaults for those that are not given, as JSON has them."""
    head = HEADS.get(method) if isinstance(method, str) else None
    known = inspect.signature(head).parameters.values() if head else []
    usual = {one.name: one.default for one in known if one.default is not inspect.Parameter.empty}
    filled = {"project": None, **usual, **values}
    filled["project"] = filled["project"] or None  # 0 is no projection either
    plain: dict[str, Any] = json.loads(to_json(filled, default=str))
    return plain


def _differing(stored: Any, wanted: Any) -> list[str]:
    before, now = dict(_flat(stored)), dict(_flat(wanted))
    names = sorted(before.keys() | now.keys())
    pairs = {name: (before.get(name), now.get(name)) for name in names}
    return [f"{name} {old} -> {new}".strip() for name, (old, new) in pairs.items() if old != new]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values inside nested mappings, by dotted names."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def ending(val: list[float], settings: Settings) -> int | None:
    """The epoch at which a run ends, given its val accuracies from epoch 0 on; None where it goes on.

    Args:
        val: of the epochs that are done.
        settings: epochs, patience, and whether the run selects.
    """
    best = 0
    for epoch, accuracy in enumerate(val):
        best = epoch if accuracy > val[best] else best
        used_up = settings.val_episodes > 0 and epoch - best >= settings.patience
        if epoch >= settings.epochs or used_up:
            return epoch
    return None


def best_of(val: list[float], settings: Settings) -> int:
    """The epoch whose weights are kept: the first of the best ones, or the last where nothing selects."""
    return val.index(max(val)) if settings.val_episodes else len(val) - 1


def up_to_the_end(stored: Progress, settings: Settings, *, best_kept: int, folder: Path) -> Progress:
    """Where a folder's run is, or was when the run that is asked for ended, if that was earlier.

    Args:
        stored: where the folder's run is.
        settings: of the run that is asked for.
        best_kept: the epoch of the weights in the folder's best checkpoint.
        folder: of the run, in the error.

    Raises:
        InputError: the run that is asked for ended earlier, and its best weights have been overwritten since.
    """
    end = ending(stored.val, settings)
    if end is None:
        return stored
    val = stored.val[: end + 1]
    best = best_of(val, settings)
    if best != best_kept:
        raise InputError(
            f"{folder}: holds a longer run, of {len(stored.val) - 1} epochs, whose kept weights are of epoch "
            f"{best_kept}; with --epochs {settings.epochs} and --patience {settings.patience} it ends at epoch {end}, "
            f"and the weights of its best epoch, {best}, are not kept; choose another --out, or more --epochs or "
            "--patience"
        )
    return dataclasses.replace(
        stored,
        episode=end * settings.episodes_per_epoch,
        best_val=val[best],
        best_epoch=best,
        loss=0.0,
        terms={},
        accuracy=0.0,
        val=val,
        history=stored.history[: end + 1],
    )

"""Where the features of a table come from: stores in a folder, or data sets on disk that are not extracted yet."""

from dataclasses import dataclass, field
from pathlib import Path

from ta2n.cache_schema.errors import InputError, Ta2nError
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache.address import addresses_in, parse_address
from ta2n.pipeline.datasets.resolve import resolve

PAPER = ("kinetics-cmn", "ssv2-otam", "ssv2-cmn", "ucf101", "hmdb51")
"""The paper's data sets, in the order of its table."""


@dataclass
class Sources:
    """What there is.

    Attributes:
        stores: by data set, the paper's first.
        found: data sets on disk whose features are not stored yet, with their rows.
        missing: the paper's other data sets, with the reason.
    """

    stores: dict[str, Path] = field(default_factory=dict)
    found: dict[str, VideoTable] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def find_sources(cache: Path, datasets: list[str], root: Path | None, splits: Path | None) -> Sources:
    """Looks for stores in ``cache``, and for the paper's data sets on disk where there is no store.

    Args:
        cache: a folder of stores, or one store.
        datasets: to leave it at; empty for all.
        root: of the data sets, as ``ta2n extract`` takes it.
        splits: a local copy of the published lists.

    Raises:
        InputError: a name is neither a data set of the paper nor that of a store.
    """
    single = parse_address(cache)
    found = {cache.stem: single} if single else addresses_in(cache)
    stores = {name: address.path for name, address in found.items()}
    unknown = [name for name in datasets if name not in PAPER and name not in stores]
    if unknown:
        known = ", ".join([*PAPER, *(name for name in stores if name not in PAPER)])
        raise InputError(f"--only {unknown[0]}: neither a method of the recipes nor a data set ({known})")
    sources = Sources()
    for name in [*PAPER, *(name for name in stores if name not in PAPER)]:
        if datasets and name not in datasets:
            continue
        if name in stores:
            sources.stores[name] = stores[name]
        else:
            _look_for(name, cache, root, splits, sources)
    return sources


def _look_for(name: str, cache: Path, root: Path | None, splits: Path | None, sources: Sources) -> None:
    try:
        sources.found[name] = resolve(name, root=root, splits=splits).videos
    except Ta2nError as error:
        sources.missing[name] = f"no features in {cache}; {error}"

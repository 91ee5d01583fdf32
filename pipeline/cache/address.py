"""Where a store lies, parsed once: a zarr store in a folder, or one HDF5 file."""

from dataclasses import dataclass
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.layout import is_store
from ta2n.pipeline.cache.hdf5.source import SUFFIXES, Hdf5Source, is_export
from ta2n.pipeline.cache.sources import Source, ZarrSource


@dataclass(frozen=True)
class StoreAddress:
    """A store that was asked for.

    Attributes:
        path: its folder or file.
        form: ``zarr`` or ``hdf5``.
    """

    path: Path
    form: str

    def open(self, *, check: bool = True) -> Source:
        """Opens it for reading; ``check`` compares each map with its digest at its first reading.

        Raises:
            MissingError: nothing is there.
            DamagedCacheError: what is there is no store of ours, or not whole.
        """
        return (Hdf5Source if self.form == "hdf5" else ZarrSource)(self.path, check=check)


def parse_address(path: Path | str) -> StoreAddress | None:
    """The store or file that a path itself names; None for anything else, such as a folder of stores."""
    path = Path(path)
    if path.suffix in SUFFIXES:
        return StoreAddress(path, "hdf5")
    return StoreAddress(path, "zarr") if is_store(path) else None


def find_address(path: Path | str, dataset: str | None = None) -> StoreAddress:
    """The store meant by a path: the store or HDF5 file itself, or the one inside a folder of them.

    Raises:
        MissingError: there is none.
        InputError: the folder holds several and ``dataset`` does not choose one.
    """
    named = parse_address(path)
    if named is not None:
        if dataset not in (None, named.path.stem):
            raise MissingError(f"{path}: is of data set {named.path.stem!r}, not {dataset!r}; leave --dataset out")
        return named
    stores = addresses_in(Path(path))
    names = ", ".join(stores)
    if dataset is not None:
        if dataset not in stores:
            raise MissingError(f"{path}: no store of data set {dataset!r} there; found: {names or 'none'}")
        return stores[dataset]
    if not stores:
        raise MissingError(f"{path}: no feature store there; make one with `ta2n extract --dataset ... --cache {path}`")
    if len(stores) > 1:
        raise InputError(f"{path}: holds several stores ({names}); name one, e.g. {next(iter(stores.values())).path}")
    return next(iter(stores.values()))


def addresses_in(folder: Path) -> dict[str, StoreAddress]:
    """The stores of a folder by data set; of a store and an HDF5 file of one name, the store.

    Raises:
        InputError: it is a file.
    """
    if folder.is_file():
        raise InputError(f"{folder}: is a file; give a feature store, a folder of stores, or an HDF5 file (.h5)")
    files = [path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}") if is_export(path)]
    found = [StoreAddress(path, "hdf5") for path in files]
    found += [StoreAddress(path, "zarr") for path in folder.glob("*.zarr")]
    return dict(sorted({one.path.stem: one for one in found if not one.path.name.startswith(".")}.items()))

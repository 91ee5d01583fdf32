"""Maps the top-level folders into the ``ta2n`` package; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("cache_schema", "pipeline", "cli", "recipes")

setup(
    package_dir={"ta2n": "src/ta2n", **{f"ta2n.{name}": name for name in FOLDERS}},
    packages=["ta2n", *(f"ta2n.{name}" for name in find_packages(include=[p for f in FOLDERS for p in (f, f"{f}.*")]))],
)

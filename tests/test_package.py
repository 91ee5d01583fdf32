"""The package as a user gets it: names, what it costs to import, and what it must never put in ``sys.modules``."""

import subprocess
import sys

import pytest

import ta2n


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120, cwd="/")
    return set(run.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not imported_by("import ta2n") & {"torch", "zarr", "decord", "numpy", "typer"}


def test_the_folders_are_importable_only_under_the_package_name() -> None:
    modules = imported_by("import ta2n.pipeline.heads, ta2n.cli, ta2n.cache_schema.errors")
    assert "ta2n.pipeline.heads" in modules
    assert not modules & {"pipeline", "cli", "cache_schema"}
    assert not set(sys.modules) & {"pipeline", "cli", "cache_schema"}


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "zarr", "numcodecs", "h5py", "numpy", "decord", "dask", "distributed"}
    for arguments in (["--help"], ["train-head", "--help"], ["cache", "export", "--help"], ["--version"]):
        asked = f"import contextlib, os, sys, ta2n.cli\nsys.argv = ['ta2n', *{arguments}]"
        run = "with contextlib.redirect_stdout(open(os.devnull, 'w')), contextlib.suppress(SystemExit): ta2n.cli.main()"
        assert not imported_by(f"{asked}\n{run}") & heavy


def test_python_functions_are_imported_when_they_are_asked_for() -> None:
    assert not imported_by("import ta2n; assert 'train_head' in dir(ta2n)") & {"torch", "numpy", "ta2n.pipeline"}
    asked = imported_by("import ta2n; assert callable(ta2n.extract)\nassert ta2n.extract is ta2n.extract")
    assert {"torch", "ta2n.pipeline.commands.extract"} <= asked
    assert not imported_by("from ta2n.pipeline.commands import tables") & {"torch", "numpy", "zarr", "dask"}


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'finetuned'"):
        ta2n.finetuned  # noqa: B018
    assert callable(ta2n.evaluate)

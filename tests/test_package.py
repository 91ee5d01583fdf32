"""The package as a user gets it: names, what it costs to import, and what it must never put in ``sys.modules``."""

import subprocess
import sys


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

"""The wheel holds every module that is tracked, under its installed name, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cache_schema", "pipeline", "cli", "recipes")


def tracked() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return listing.stdout.splitlines()


def test_the_wheel_holds_what_is_tracked(tmp_path: Path) -> None:
    files = tracked()
    for name in files:
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "source" / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    built = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True, check=False, timeout=200)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {f"ta2n/{name}" for name in files if name.startswith(FOLDERS) and name.endswith((".py", ".toml"))}
    wanted |= {name.removeprefix("src/") for name in files if name.startswith("src/")}
    assert held == wanted

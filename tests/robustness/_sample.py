"""A script of this folder with few trials, in a process of its own: a test's process has threads that forks share."""

import subprocess
import sys
from pathlib import Path


def run_sample(name: str, *arguments: str) -> str:
    """The table that a script prints, if none of its trials failed."""
    script = [sys.executable, str(Path(__file__).with_name(name)), *arguments]
    done = subprocess.run(script, capture_output=True, text=True, timeout=250, check=False)
    if done.returncode:
        raise AssertionError(f"{name} {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout

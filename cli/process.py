"""What a process of ours asks of its system libraries, before anything heavy is loaded."""

import ctypes
import io
import os
import sys

# Of glibc's mallopt, and how much it is to keep.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = 2**31 - 1, 1 << 30


def prepare_process() -> None:
    """Makes threads sleep where they wait, and freed memory stay; values in the environment are left alone."""
    # Before torch loads its OpenMP: threads that wait by spinning keep each other from the cores as soon as another
    # program wants one. Measured on two cores with one of them busy: 0.2 training episodes/s spinning, 2.0 sleeping.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_freed_memory()
    _print_anything()


def _print_anything() -> None:
    """A letter that a terminal's encoding does not have is shown as its number, and ends no command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _keep_freed_memory() -> None:
    """Blocks of tens of megabytes go back to the system when they are freed, and the next ones are faulted in anew.

    Measured on two cores, pairs of TA2N at C = 2048 in evaluation: a fifth to two fifths of the time. Other C libraries
    than glibc have no such setting, or no need of it.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows, which wants a name
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)

"""How many errors a decoder concealed: libav puts a guess where something is missing, and says so on standard error.

decord and PyAV each bring a libav of their own, and nothing else leads to what decord's says. So a decoding process,
whose standard error is nobody else's, keeps it in a file and counts the messages of each clip.

What no message tells is not counted: a changed bit that is a valid picture too, as in most of a VP8 or VP9 stream, or a
file that was cut between two frames where its container allows it.
"""

import ctypes
import os
import re
import tempfile
from pathlib import Path

STANDARD_ERROR = 2
READ_AT_MOST = 1 << 20
LOADED = Path("/proc/self/maps")
PRINT_LEVEL = 2  # AV_LOG_PRINT_LEVEL
# "[h264 @ 0x55d0c0a4c2c0] [error] error while decoding MB 12 3, bytestream -5": of whom, how grave, and what.
_MESSAGE = re.compile(
    rb"^((?:\[[^\]\n]+ @ (?:0x)?[0-9A-Fa-f]+\] )*)(?:\[(panic|fatal|error|warning|info)\] )?(.+)$", re.MULTILINE
)
_ADDRESS = re.compile(rb" @ (?:0x)?[0-9A-Fa-f]+")
# What is damage too, though libav finds it less grave.
_DAMAGE = re.compile(rb"conceal|corrupt|damaged|truncat", re.IGNORECASE)


def report_errors() -> None:
    """Makes both decoders write to standard error what is wrong with a stream.

    Import PyAV before decord, whose codec libraries break those of PyAV.
    """
    import av.logging
    import decord

    level = av.logging.INFO if _with_levels() else av.logging.ERROR
    av.logging.restore_default_callback()
    av.logging.set_libav_level(level)
    decord.logging.set_level(level)


def _with_levels() -> bool:
    """Has each libav of this process write how grave a message is; only Linux tells which there are."""
    if not LOADED.exists():
        return False
    libraries = {line.split(maxsplit=5)[5] for line in LOADED.read_text().splitlines() if "libavutil" in line}
    for library in libraries:
        ctypes.CDLL(library).av_log_set_flags(PRINT_LEVEL)
    return bool(libraries)


def errors_in(text: bytes) -> set[tuple[bytes, bytes]]:
    """The different errors among messages of libav: who reports it, and what."""
    found = set()
    for sources, level, what in _MESSAGE.findall(text):
        grave = level in (b"error", b"fatal", b"panic") or (sources and not level)
        if grave or (level and _DAMAGE.search(what)):
            found.add((_ADDRESS.sub(b"", sources), what))
    return found


class ErrorMessages:
    """What is written to a descriptor of this process, from now on kept in a file without a name.

    Args:
        descriptor: of the process, standard error as a rule.
    """

    def __init__(self, descriptor: int = STANDARD_ERROR) -> None:
        self._descriptor = descriptor
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), descriptor)

    def take(self) -> int:
        """How many different errors there were since the last call.

        A clip may be opened and read more than once, which repeats messages and makes no new ones.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, READ_AT_MOST)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        return len(errors_in(text))

"""How many errors a decoder concealed: libav puts a guess where something is missing, and says so on standard error.

decord and PyAV each bring a libav of their own, and nothing else leads to what decord's says. So a decoding process,
whose standard error is nobody else's, keeps it in a file and counts the messages of each clip.

What no message tells is not counted: a changed bit that is a valid picture too, as in most of a VP8 or VP9 stream, or a
file that was cut between two frames where its container allows it.
"""

import os
import re
import tempfile

STANDARD_ERROR = 2
READ_AT_MOST = 1 << 20
# "[h264 @ 0x55d0c0a4c2c0] error while decoding MB 12 3, bytestream -5": whose message, where that lies, and what it is.
_MESSAGE = re.compile(rb"^\[(.+?) @ (?:0x)?[0-9A-Fa-f]+\] (.+)$", re.MULTILINE)


def report_errors() -> None:
    """Makes both decoders write their errors, and nothing less, to standard error.

    Import PyAV before decord, whose codec libraries break those of PyAV.
    """
    import av.logging
    import decord

    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.ERROR)
    decord.logging.set_level(decord.logging.ERROR)


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
        """How many different messages of libav there are since the last call.

        A clip may be opened and read more than once, which repeats messages and makes no new ones.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, READ_AT_MOST)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        return len(set(_MESSAGE.findall(text)))

"""A file for HDF5 to write through, which never fails before HDF5 has closed it."""

import io
from typing import Any


class PatientFile:
    """Keeps the first error of writing for :meth:`check`, and takes all that is written after it for written.

    HDF5 leaves objects behind that it frees at the end of the process, and breaks the process there, where it cannot
    write the end of a file as it closes it.

    Args:
        raw: a file without a buffer, open for reading and writing.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._error: OSError | None = None

    def check(self) -> None:
        """Raises what was kept.

        Raises:
            OSError: the disk is full, for instance.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Writes all of the data, or takes it for written."""
        left = memoryview(data)
        while len(left) and self._error is None:
            try:
                left = left[self._raw.write(left) :]
            except OSError as error:
                self._error = error
        return len(data)

    def truncate(self, length: int) -> int:
        """Sets the length of the file, where nothing has failed."""
        if self._error is None:
            try:
                self._raw.truncate(length)
            except OSError as error:
                self._error = error
        return length

    def read(self, count: int = -1) -> bytes:
        """Reads bytes; this is how h5py knows a file."""
        return self._raw.read(count) or b""

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer."""
        return self._raw.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._raw.tell()

    def flush(self) -> None:
        """Nothing waits: the file has no buffer."""

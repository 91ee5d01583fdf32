"""Every error that ta2n raises on purpose, and the tree they hang on.

::

    Ta2nError
    ├── InputError          (ValueError)          an argument, a file or a data set that cannot be used as given
    ├── DecodeError         (ValueError)          a clip that does not give its frames
    ├── MissingError        (FileNotFoundError)   something named by the user is not there
    ├── BusyError           (BlockingIOError)     something that another process is writing at this moment
    ├── WorkerError         (RuntimeError)        a helper process that cannot do any work at all
    └── CacheError
        ├── ManifestMismatchError  (ValueError)   a run would mix two kinds of features in one store
        └── DamagedCacheError      (ValueError)   a store that does not hold what its manifest says

Each message names the file or value, what was found, what was expected and what to do, in one or two sentences: the
command line prints it as it stands.
"""


class Ta2nError(Exception):
    """The base of every error raised on purpose by ta2n."""


class InputError(Ta2nError, ValueError):
    """An argument, a file or a data set cannot be used as it was given."""


class DecodeError(Ta2nError, ValueError):
    """A clip does not give its frames; a run records it as failed and goes on."""


class MissingError(Ta2nError, FileNotFoundError):
    """A file, folder or package that the user named is not there."""


class BusyError(Ta2nError, BlockingIOError):
    """Something is being written by another process."""


class WorkerError(Ta2nError, RuntimeError):
    """A helper process cannot do any work at all, whatever it is given."""


class CacheError(Ta2nError):
    """A feature store cannot be used."""


class ManifestMismatchError(CacheError, ValueError):
    """A run would mix features of two kinds in one store."""


class DamagedCacheError(CacheError, ValueError):
    """A store does not hold what its manifest says."""

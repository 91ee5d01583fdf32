"""Version 1 of the format, which is read and turned into version 2, and no longer written.

Its row table is one JSON text; its digests are in :func:`ta2n.cache_schema.values.digest`.
"""

import hashlib
import json

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.cache_schema.table import VideoTable


def read_table(data: bytes, *, source: str) -> tuple[VideoTable, str]:
    """The row table, and the hash of it that a manifest of version 1 names.

    Raises:
        DamagedCacheError: the bytes are no row table.
    """
    try:
        values = json.loads(data)
        columns = [[str(one) for one in values[name]] for name in ("id", "path", "label", "split")]
        rows = list(zip(*columns, strict=True))
        table = VideoTable.from_rows(rows, root=str(values["root"]))
    except (ValueError, KeyError, TypeError, RecursionError, InputError) as error:
        raise DamagedCacheError(
            f"{source}: its row table cannot be read ({error}); extract into another --cache folder"
        ) from error
    text = "\n".join("\t".join((name, label, split)) for name, _, label, split in rows)
    return table, hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

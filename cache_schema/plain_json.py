"""The one way in which ta2n writes JSON: as every reader understands it, also where a number is not finite.

JSON knows no infinity and no NaN (RFC 8259, section 6), yet Python writes both unless it is told not to, and browsers,
jq and other languages then refuse the whole document. Null stands for them: the interval of a single episode, say.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(values: Any, **options: Any) -> str:
    """A document of plain values, with null for every number that is not finite.

    Args:
        values: mappings, lists, tuples, texts, numbers, booleans and None.
        options: of :func:`json.dumps`, such as ``indent``; ``default`` makes plain values of others.
    """
    try:
        return json.dumps(values, allow_nan=False, **options)
    except ValueError:
        # Looked for only where there is one: a list of a million episodes would take seconds.
        return json.dumps(finite(values), allow_nan=False, **options)


def finite(values: Any) -> Any:
    """The same values, with None in place of every number that is not finite."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values

"""Settings that an earlier call wrote down, perhaps with another version of ta2n."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ta2n.cache_schema.errors import InputError

_Settings = TypeVar("_Settings")


def defaults(table: type) -> dict[str, Any]:
    """The default of every field of a settings class that has one: what a file means that lacks the field."""
    fields = dataclasses.fields(table)
    plain = {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}
    made = {one.name: one.default_factory() for one in fields if one.default_factory is not dataclasses.MISSING}
    return plain | made


def from_stored(table: type[_Settings], values: Mapping[str, Any], *, source: object) -> _Settings:
    """The settings of a class from what was stored of them; fields that are not there have their defaults.

    Args:
        table: the settings class.
        values: by field.
        source: the file or folder, in the error.

    Raises:
        InputError: a field is not known, one without a default is missing, or a value cannot be used.
    """
    try:
        return table(**values)
    except InputError as error:
        raise InputError(f"{source}: its {error}") from error
    except TypeError as error:
        raise InputError(f"{source}: settings of another ta2n ({error}); use the one that wrote them") from error

"""Names of data sets and files that say of which video they are: ``{class}/{id}/features``."""

import re

from ta2n.cache_schema.errors import InputError

_FIELDS = {"id": r".+", "class": r"[^/]+", "split": r"train|val|test"}
_FIELD = re.compile(r"\{([^{}]*)\}")


class Pattern:
    """Names with ``{id}``, and perhaps ``{class}`` and ``{split}``; everything else in it stands for itself.

    ``{class}`` is one part between slashes, ``{split}`` is train, val or test, and ``{id}`` is anything.

    Raises:
        InputError: there is not one ``{id}``, or something else in braces.
    """

    def __init__(self, text: str) -> None:
        self.text, self.fields = text, _FIELD.findall(text)
        odd = [name for name in self.fields if name not in _FIELDS]
        if odd or self.fields.count("id") != 1 or len(set(self.fields)) != len(self.fields):
            raise InputError(
                f"{text!r}: expected one {{id}}, and perhaps {{class}} and {{split}}, e.g. {{id}}/features"
            )
        parts = _FIELD.split(text)
        made = [f"(?P<{part}>{_FIELDS[part]})" if place % 2 else re.escape(part) for place, part in enumerate(parts)]
        self._regex = re.compile("".join(made), re.DOTALL)

    def match(self, name: str) -> dict[str, str] | None:
        """The values of the fields in a name; None where it is another kind of name."""
        found = self._regex.fullmatch(name)
        return found.groupdict() if found else None

    def fill(self, values: dict[str, str]) -> str:
        """The name with values in its fields.

        Raises:
            InputError: a field has no value.
        """
        missing = [name for name in self.fields if name not in values]
        if missing:
            raise InputError(f"{self.text!r}: has {{{missing[0]}}}, which --features does not have")
        return _FIELD.sub(lambda field: values[field[1]], self.text)


def is_pattern(text: str | None) -> bool:
    """Whether a name is one of many."""
    return text is not None and "{" in text

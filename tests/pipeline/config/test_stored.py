"""Settings that were written down: by an older version, by a newer one, and by nobody."""

import dataclasses

import pytest

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.config.stored import defaults, from_stored
from ta2n.pipeline.training.settings import Settings

STORED = dataclasses.asdict(Settings(method="otam", shot=5, options={"dropout": 0.1}))


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Settings) if one.name != "method"])
def test_a_field_that_an_older_version_did_not_write_has_its_default(field: str) -> None:
    values = {name: value for name, value in STORED.items() if name != field}
    found = from_stored(Settings, values, source="run")
    assert dataclasses.asdict(found) == STORED | {field: defaults(Settings)[field]}


def test_defaults_are_those_of_the_class_and_nobodys_own() -> None:
    assert Settings(method="otam", **defaults(Settings)) == Settings(method="otam")
    assert defaults(Settings)["options"] is not defaults(Settings)["options"]
    assert "method" not in defaults(Settings)


@pytest.mark.parametrize("values", [STORED | {"colour": "red"}, {"shot": 1}, STORED | {"way": 1}])
def test_what_cannot_be_used_is_one_line(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"^runs/a: ") as caught:
        from_stored(Settings, values, source="runs/a")
    assert "\n" not in str(caught.value)

"""Names that say of which video they are."""

import pytest

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.hdf5.pattern import Pattern, is_pattern


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("{id}", "v_1", {"id": "v_1"}),
        ("{id}", "a/b", {"id": "a/b"}),
        ("{id}/features", "video_0/features", {"id": "video_0"}),
        ("{id}/features", "video_0/label", None),
        ("{id}/features", "xfeatures", None),
        ("{class}/{id}", "run/a/b", {"class": "run", "id": "a/b"}),
        ("{class}/{id}", "a", None),
        ("{split}/{class}/{id}", "val/run/a", {"split": "val", "class": "run", "id": "a"}),
        ("{split}/{class}/{id}", "dev/run/a", None),
        ("a.b/{id}", "a.b/c", {"id": "c"}),
        ("a.b/{id}", "axb/c", None),
    ],
)
def test_what_a_name_says(text: str, name: str, found: dict[str, str] | None) -> None:
    pattern = Pattern(text)
    assert pattern.match(name) == found
    if found is not None:
        assert pattern.fill(found) == name


@pytest.mark.parametrize("text", ["features", "{class}/x", "{id}/{id}", "{id}/{name}", "{id}/{}", "{ID}"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(InputError, match=r"expected one \{id\}"):
        Pattern(text)


def test_a_field_without_a_value() -> None:
    with pytest.raises(InputError, match=r"has \{class\}, which --features does not have"):
        Pattern("{class}/{id}/label").fill({"id": "a"})


def test_is_pattern() -> None:
    assert [is_pattern(text) for text in ("{id}", "x", None)] == [True, False, False]

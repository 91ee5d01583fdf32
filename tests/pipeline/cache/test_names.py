"""A store lies in its folder, whatever its data set is called."""

from pathlib import Path

import pytest

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.names import named_store

ODD = ["", ".", "..", "../x", "a/b", "/abs", "a\\b", ".hidden", "a/../../b", "x\0y", "a/"]


@pytest.mark.parametrize("name", ODD)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no name of a store") as caught:
        named_store(tmp_path, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["clips", "a b", "é", "x.y", "a..", "-x"])
def test_names_of_stores(tmp_path: Path, name: str) -> None:
    path = named_store(tmp_path, name)
    assert path.parent == tmp_path
    assert path.name == f"{name}.zarr"

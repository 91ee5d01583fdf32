"""Recipes and protocols: what may be said, and who is heard first."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.clips import RULES
from ta2n.pipeline.commands import tables
from ta2n.pipeline.config.options import recipe_names
from ta2n.pipeline.config.protocols import PROTOCOLS
from ta2n.pipeline.config.recipes import Recipe, read_recipe
from ta2n.pipeline.config.resolve import first_given
from ta2n.pipeline.features.preprocess import parse_resize

TABLES = {name: recipe_names(*classes) for name, classes in tables.RECIPE.items()}

RECIPE = """
protocol = "ta2n-code"
[extract]
frames = 16
flip = false
[train]
episodes = 50
lr = 0.01
[test]
episodes = 100
"""


def test_the_published_values() -> None:
    paper, code, trx = (PROTOCOLS[name] for name in ("ta2n-paper", "ta2n-code", "trx"))
    assert (paper.rule, paper.resize, paper.normalise) == ("tsn", "256x256", "backbone")
    assert (paper.test_episodes, code.test_episodes, trx.test_episodes) == (10_000, 3_000, 10_000)
    for one in (code, trx):
        assert (one.rule, one.resize, one.normalise) == ("linspace", "short-256", "none")
    for one in PROTOCOLS.values():
        assert (one.optimizer, one.learning_rate, one.accumulate) == ("sgd", 1e-3, 16)
        assert (one.train_queries, one.test_queries, one.dropout) == (5, 1, 0.5)
        assert one.rule in RULES
        parse_resize(one.resize)
    assert "chosen on val" in code.note


def test_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    found = read_recipe(tmp_path / "r.toml", TABLES)
    assert found == Recipe("ta2n-code", {"frames": 16, "flip": False}, {"episodes": 50, "lr": 0.01}, {"episodes": 100})
    (tmp_path / "empty.toml").write_text("")
    assert read_recipe(tmp_path / "empty.toml", TABLES) == Recipe()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("episodes = 50", "episode = 50", "no setting 'episode' in .train.; did you mean 'episodes'"),
        ("[test]", "[tests]", "did you mean 'test'"),
        ("frames = 16", "frames = 16.5", "expected int"),
        ("frames = 16", "frames = true", "expected int"),
        ("flip = false", "flip = 0", "expected bool"),
        ("lr = 0.01", 'lr = "small"', "expected int or float"),
        ("frames = 16", "frames = 0", "frames in .extract. is 0, expected 1 to 4096"),
        ("lr = 0.01", "lr = 0", "lr in .train. is 0, expected more than 0"),
        ("lr = 0.01", "lr = nan", "lr in .train. is nan, expected more than 0"),
        ("lr = 0.01", "dropout = 1", "expected 0 to 0.99"),
        ("lr = 0.01", 'optimizer = "rms"', "optimizer in .train. 'rms' is not known; choose sgd or adam"),
        ("lr = 0.01", "shot = 5", "no setting 'shot'"),
        ('"ta2n-code"', "3", "expected a name"),
        ("[train]", "[train", "not a TOML file"),
        ("[test]\nepisodes = 100", "test = 3", "expected a table"),
    ],
)
def test_what_no_command_has_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "r.toml"
    text = RECIPE.replace(old, new)
    file.write_text(text if "test = 3" not in text else "test = 3\n")
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(file, TABLES)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[train]\nseed = " + "9" * 5000, "a = " + "[" * 100_000, "\udcff", "[train]\nway = 1e"]
)
def test_what_is_no_toml_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="not a TOML file") as caught:
        read_recipe(file, TABLES)
    assert "\n" not in str(caught.value)


def test_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such recipe"):
        read_recipe(tmp_path / "r.toml", TABLES)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.integers()), max_size=4))
def test_the_first_that_says_something_is_heard(layers: list[dict[str, int | None]]) -> None:
    found = first_given(*layers)
    for name in "abc":
        said = [layer[name] for layer in layers if layer.get(name) is not None]
        assert found.get(name) == (said[0] if said else None)


def test_sizes() -> None:
    assert parse_resize("256x340") == (256, 340)
    assert parse_resize("short-256") == 256


@pytest.mark.parametrize("text", ["256", "256x", "short-256x256", "0x256", "axb", "short-", "1x2x3", "-1x5"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="256x256, or short-256"):
        parse_resize(text)

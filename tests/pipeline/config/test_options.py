"""One option, one place: what a field says is what flags, recipes, Python and the documentation say."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ta2n.cache_schema.errors import InputError
from ta2n.cli.app import app
from ta2n.pipeline.clips import RULES
from ta2n.pipeline.commands.tables import RECIPE, TRAIN
from ta2n.pipeline.config.extraction import ExtractMachine, ExtractSettings
from ta2n.pipeline.config.options import Option, check, one_option, option, options, recipe_names, takes
from ta2n.pipeline.config.page import options_table
from ta2n.pipeline.config.protocols import PROTOCOLS, Protocol
from ta2n.pipeline.config.recipes import read_recipe
from ta2n.pipeline.config.resolve import given_fields
from ta2n.pipeline.config.testing import EvaluateSettings
from ta2n.pipeline.features.plan import NORMALISATIONS
from ta2n.pipeline.training.settings import Settings

ROOT = Path(__file__).parents[3]
COMMANDS = {
    "train-head": TRAIN,
    "extract": (ExtractSettings, ExtractMachine),
    "evaluate": (EvaluateSettings,),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy:
    count: int = option(3, help="How many.", low=1)
    share: float = option(0.5, help="A share.", low=0, high=0.9, recipe="part")
    rate: float = option(0.1, help="A rate.", above=0, protocol="learning_rate", recipe=None, flag="speed")
    name: str | None = option(None, help="A name.", choices=("a", "b"))
    other: bool = option(False, help="A switch.", off="no-other")
    plain: int = 7

    def __post_init__(self) -> None:
        check(self)


def test_what_a_field_says() -> None:
    count, share, rate, name, other = options(Toy)
    assert (count.kind, share.kind, rate.kind, name.kind, other.kind) == (int, float, float, str, bool)
    assert (share.recipe, share.flag) == ("part", "part")
    assert (rate.recipe, rate.flag) == (None, "speed")
    assert list(recipe_names(Toy)) == ["count", "part", "name", "other"]
    assert count.help_with_default == "How many. [default: 3]"
    assert rate.help_with_default == "A rate. [default: the protocol's]"
    assert name.help_with_default == "A name."
    assert one_option(Toy, "rate") == rate


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count is 0, expected at least 1"),
        ({"count": 1.0}, "count is 1.0, expected int"),
        ({"count": True}, "count is True, expected int"),
        ({"count": None}, "count is None, expected int"),
        ({"share": 0.95}, "share is 0.95, expected 0 to 0.9"),
        ({"share": "much"}, "share is 'much', expected int or float"),
        ({"rate": 0}, "rate is 0, expected more than 0"),
        ({"rate": float("nan")}, "rate is nan, expected more than 0"),
        ({"name": "c"}, "name 'c' is not known; choose a or b"),
        ({"other": 1}, "other is 1, expected bool"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Toy(**values)


def test_values_at_the_edges_are_taken() -> None:
    Toy(count=1, share=0, rate=1e-9, name="b", other=True)
    Toy(share=0.9, name=None)


def test_ranges_hold_in_the_settings_of_the_commands() -> None:
    with pytest.raises(InputError, match="way is 1, expected 2 to 10000"):
        Settings(method="ta2n", way=1)
    with pytest.raises(InputError, match="shot is 0, expected 1 to 10000"):
        EvaluateSettings(shot=0)
    with pytest.raises(InputError, match="views is 0"):
        ExtractSettings(views=0)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_option_is_a_flag_with_its_help_and_default(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    lines = {match[1]: line for line in shown.stdout.splitlines() if (match := re.search(r"(--[a-z-]+)", line))}
    for one in (one for table in COMMANDS[command] for one in options(table)):
        if one.field == "shot" and command == "train-head":
            continue  # a list there
        flag = f"--{one.flag.replace('_', '-')}"
        assert one.help_with_default in " ".join(lines[flag].split()), flag


def test_names_of_protocols_and_defaults_agree() -> None:
    fields = {field.name for field in dataclasses.fields(Protocol)}
    paper = PROTOCOLS["ta2n-paper"]
    for one in (one for tables in RECIPE.values() for table in tables for one in options(table)):
        if one.protocol:
            assert one.protocol in fields
            assert getattr(paper, one.protocol) == one.default, one.field
        assert one.problem(one.default) is None


def test_choices_are_those_of_the_stages() -> None:
    assert one_option(ExtractSettings, "normalise").choices == NORMALISATIONS
    assert all(rule in one_option(ExtractSettings, "rule").help for rule in RULES)


def test_the_documentation_holds_the_table() -> None:
    text = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    start, end = "<!-- options: made from the settings classes -->\n", "<!-- /options -->"
    assert text.split(start)[1].split(end)[0] == options_table(RECIPE)


def test_a_function_shows_the_options_that_it_takes() -> None:
    @takes(Toy)
    def work(count: int = 1, **settings: Any) -> Any:
        return count, settings

    assert list(inspect.signature(work).parameters) == ["count", "part", "speed", "name", "other"]
    assert work(2, speed=3) == (2, {"speed": 3})


def outside() -> list[tuple[str, type, Option, int | float]]:
    """Every option with a range, by command, and a value just outside of it."""
    found: list[tuple[str, type, Option, int | float]] = []
    for command, tables in COMMANDS.items():
        for table in tables:
            for one in options(table):
                ends = [(one.low, -1), (one.high, 1), (one.above, 0)]
                found += [(command, table, one, one.kind(end) + step) for end, step in ends if end is not None]
    return found


@pytest.mark.parametrize(("command", "table", "one", "value"), outside())
def test_a_range_is_one_for_flags_recipes_python_and_settings(
    command: str, table: type, one: Option, value: float, tmp_path: Path
) -> None:
    said = re.escape(f"is {value}, expected {one.range}")
    with pytest.raises(InputError, match=said):
        given_fields([table], {one.flag: value})
    needed = {"method": "ta2n"} if table is Settings else {}
    with pytest.raises(InputError, match=said):
        table(**needed, **{one.field: value})
    if one.recipe is not None:
        name = {"extract": "extract", "train-head": "train", "evaluate": "test"}[command]
        (tmp_path / "r.toml").write_text(f"[{name}]\n{one.recipe} = {value}\n")
        with pytest.raises(InputError, match=rf"r\.toml: {one.recipe} in \[{name}\] {said}"):
            read_recipe(tmp_path / "r.toml", {name: recipe_names(table)})
    if one.above is None and (one.field, command) != ("shot", "train-head"):
        flag = f"--{one.flag.replace('_', '-')}"
        made = CliRunner().invoke(app, [command, flag, str(value)])
        assert made.exit_code == 2
        assert f"Invalid value for '{flag}'" in made.stderr


def test_seeds_are_those_that_numpy_and_torch_take() -> None:
    for table in (Settings, EvaluateSettings, ExtractSettings):
        one = one_option(table, "seed")
        assert one.problem(2**63 - 1) is None
        assert one.problem(2**64) == "is 18446744073709551616, expected 0 to 9223372036854775807"
    np.random.default_rng([2**63 - 1, 1])
    torch.Generator().manual_seed(2**63 - 1)


def test_an_option_is_a_plain_value() -> None:
    assert dataclasses.replace(options(Toy)[0], low=None).problem(-5) is None
    assert isinstance(options(Toy)[0], Option)

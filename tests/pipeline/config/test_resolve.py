"""Who is heard: the caller, else the recipe, else the protocol, else the default."""

from pathlib import Path
from typing import Any

import pytest

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.commands.tables import RECIPE, TRAIN, chosen
from ta2n.pipeline.config.protocols import PROTOCOLS
from ta2n.pipeline.config.resolve import choose, given_fields, make, recipe_fields, resolve
from ta2n.pipeline.config.testing import EvaluateSettings
from ta2n.pipeline.training.settings import HeadOptions, Settings

PAPER = PROTOCOLS["ta2n-paper"]
TEST = (EvaluateSettings,)


def test_each_layer_is_heard_where_those_before_say_nothing() -> None:
    layers: list[dict[str, Any]] = [{"learning_rate": 0.5, "epochs": None}, {"learning_rate": 0.1, "epochs": 3}]
    found = resolve(TRAIN, layers, PAPER)
    assert (found["learning_rate"], found["epochs"]) == (0.5, 3)
    assert (found["queries"], found["way"]) == (PAPER.train_queries, 5)
    assert found["project"] is None
    assert resolve(TEST, [], PROTOCOLS["ta2n-code"])["episodes"] == 3000
    assert resolve(TEST, [{"episodes": 7}], PROTOCOLS["ta2n-code"])["episodes"] == 7


def test_zero_and_false_are_said() -> None:
    assert resolve(TRAIN, [{"val_episodes": 0, "project": 0}], PAPER)["project"] == 0
    assert resolve(TRAIN, [{"val_episodes": 0, "project": 0}], PAPER)["val_episodes"] == 0


def test_flags_and_recipes_have_the_names_of_before_and_fields_those_of_after() -> None:
    values, notes = given_fields(TRAIN, {"lr": 0.5, "episodes": 4, "way": None})
    assert (values, notes) == ({"learning_rate": 0.5, "episodes_per_epoch": 4}, [])
    assert recipe_fields(TRAIN, {"lr": 0.5, "episodes": 4}) == values
    assert recipe_fields(TEST, {"episodes": 4}) == {"episodes": 4}


def test_a_name_of_before_is_taken_with_a_note() -> None:
    assert given_fields(TEST, {"test_episodes": 9}) == ({"episodes": 9}, [])
    values, notes = given_fields(TEST, {"episodes": 9})
    assert values == {"episodes": 9}
    assert notes == ["note: --episodes is called --test-episodes now; the next version knows only that"]
    with pytest.raises(InputError, match="--test-episodes and --episodes are one option"):
        given_fields(TEST, {"test_episodes": 9, "episodes": 9})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "there is no option 'epoch'; did you mean 'epochs'"),
        ({"learning_rate": 0.1}, "there is no option 'learning_rate'"),
        ({"way": 1}, "way is 1, expected 2 to 10000"),
        ({"lr": 0.0}, "learning rate is 0.0, expected more than 0"),
        ({"lr": "small"}, "learning rate is 'small', expected int or float"),
        ({"project": -1}, "project is -1, expected 0 to 65536"),
    ],
)
def test_what_no_command_has_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_fields(TRAIN, given)


def test_settings_are_made_from_their_own_values() -> None:
    values = resolve(TRAIN, [{"epochs": 2, "dropout": 0.1}], PAPER)
    assert make(Settings, values, method="otam", options={"a": 1}) == Settings(
        method="otam", options={"a": 1}, epochs=2
    )
    assert make(HeadOptions, values) == HeadOptions(dropout=0.1)


def test_the_protocol_of_the_caller_the_recipe_or_the_paper(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('protocol = "ta2n-code"\n[train]\nlr = 1\n')
    assert choose(None, None, RECIPE).name == "ta2n-paper"
    assert choose(None, None, RECIPE).notes == ()
    found = chosen(None, file)
    assert (found.name, found.protocol, found.recipe.train) == ("ta2n-code", PROTOCOLS["ta2n-code"], {"lr": 1})
    assert "ours are chosen on val" in found.notes[0]
    assert chosen("trx", file).name == "trx"
    with pytest.raises(InputError, match="protocol 'mine' is not known; choose one of ta2n-paper"):
        chosen("mine")
    with pytest.raises(MissingError, match="no such recipe"):
        chosen(None, tmp_path / "none.toml")

"""Which settings classes are behind each table of a recipe, and behind each command. Imports nothing heavy."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ta2n.pipeline.config.extraction import ExtractSettings
from ta2n.pipeline.config.testing import EvaluateSettings
from ta2n.pipeline.training.finetune.settings import FineTuneMachine, FineTuneSettings
from ta2n.pipeline.training.settings import HeadOptions, Settings

if TYPE_CHECKING:
    from ta2n.pipeline.config.resolve import Chosen

TRAIN = (Settings, HeadOptions)
FINETUNE = (FineTuneSettings, FineTuneMachine)
RECIPE: Mapping[str, tuple[type, ...]] = {
    "extract": (ExtractSettings,),
    "train": TRAIN,
    "test": (EvaluateSettings,),
}


def chosen(protocol: str | None = None, recipe: Path | None = None) -> "Chosen":
    """The protocol and the recipe of a call: see :func:`~ta2n.pipeline.config.resolve.choose`."""
    from ta2n.pipeline.config.resolve import choose

    return choose(protocol, recipe, RECIPE)

"""ta2n: few-shot action recognition from cached features.

The package is three folders: ``ta2n.cache_schema`` (what is on disk), ``ta2n.pipeline`` (what is computed) and
``ta2n.cli`` (what is typed). What a command does, its function does in Python::

    import ta2n

    ta2n.extract("clips/", cache="feats", backbone="efficientnet-lite0")
    run = ta2n.train_head(cache="feats", method="ta2n", shot=1)
    found = ta2n.evaluate(cache="feats", checkpoint=run.folder, against="protonet")

These are imported when they are first asked for, so that ``import ta2n`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ta2n.pipeline.commands.evaluate import evaluate
    from ta2n.pipeline.commands.extract import extract
    from ta2n.pipeline.commands.finetune import finetune
    from ta2n.pipeline.commands.train_head import train_head

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "extract", "finetune", "train_head"]

_WHERE = {
    "evaluate": "ta2n.pipeline.commands.evaluate",
    "extract": "ta2n.pipeline.commands.extract",
    "finetune": "ta2n.pipeline.commands.finetune",
    "train_head": "ta2n.pipeline.commands.train_head",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

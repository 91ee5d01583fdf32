"""Few-shot heads: one method, one file.

A head turns feature maps into distances, and works in two halves so that an evaluation does each only as often as it
must::

    head = build_head("ta2n", channels=2048, frames=8, size=7)
    embedding = head.embed(maps)                                 # once per video: (B, C, T, H, W) -> named tensors
    distances = head.compare(support, query, shot=1)             # once per episode: (Q, N), smaller is closer
    distances = head(support_maps, query_maps, shot=1)           # both halves

To add a method: write a subclass of :class:`~ta2n.pipeline.heads.interface.Head` in a file of its own, whose
``__init__(self, channels, *, frames, size, ...)`` takes the options by name; enter it in :data:`HEADS`; and let its
test file subclass ``HeadBehaviour`` of ``tests/support/head_behaviour.py``, which holds what every head must do.
"""

import inspect
from collections.abc import Callable
from functools import partial

import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.arn import ARN
from ta2n.pipeline.heads.bimhm import BiMHM
from ta2n.pipeline.heads.chamfer import Chamfer
from ta2n.pipeline.heads.cmn import CMN
from ta2n.pipeline.heads.dcm import DCM
from ta2n.pipeline.heads.interface import ClipEmbedder, Embedding, Head
from ta2n.pipeline.heads.otam import OTAM
from ta2n.pipeline.heads.project import Projected
from ta2n.pipeline.heads.protonet import ProtoNet
from ta2n.pipeline.heads.ta2n import TA2N
from ta2n.pipeline.heads.tarn import TARN
from ta2n.pipeline.heads.team import TEAM
from ta2n.pipeline.heads.trn import TRN
from ta2n.pipeline.heads.trx import TRX
from ta2n.pipeline.heads.tsn import TSN

__all__ = ["HEADS", "ClipEmbedder", "Embedding", "Head", "build_head"]

HEADS: dict[str, Callable[..., Head]] = {
    "arn": ARN,
    "bimhm": BiMHM,
    "chamfer": Chamfer,
    "cmn": CMN,
    "dcm": DCM,
    "otam": OTAM,
    "protonet": ProtoNet,
    "ta2n": TA2N,
    # TA2N's ablations: its parts alone and together, as in the paper's table.
    "ttm": partial(TA2N, tc=False, sc=False),
    "tc": partial(TA2N, ttm=False, sc=False),
    "sc": partial(TA2N, ttm=False, tc=False),
    "ttm+tc": partial(TA2N, sc=False),
    "tarn": TARN,
    "team": TEAM,
    "trn++": TRN,
    "trx": TRX,
    "tsn++": TSN,
}


def build_head(
    name: str, *, channels: int, frames: int, size: int, project: int | None = None, seed: int = 0, **options: object
) -> Head:
    """Build an untrained head by the name of its method.

    Args:
        name: a key of :data:`HEADS`.
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        project: number of channels to project to with a learned 1×1 map before the head; None for no projection.
        seed: of the initial weights; the global generator is left as it was.
        options: the method's own, by name; they are the keyword arguments of its class.

    Raises:
        InputError: the method or one of the options does not exist, or the sizes do not fit the method.
    """
    if name not in HEADS:
        raise InputError(f"there is no head named {name!r}; choose one of {', '.join(sorted(HEADS))}")
    known = [option for option in inspect.signature(HEADS[name]).parameters if option not in _SIZES]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"the head {name!r} has no option {', '.join(unknown)}; its options are {', '.join(known) or 'none'}"
        )
    for axis, number in (("channels", channels), ("frames", frames), ("size", size), ("project", project or 1)):
        if not 1 <= number <= _LARGEST:
            raise InputError(f"{axis}={number} is not a size; give 1 to {_LARGEST}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = HEADS[name](project or channels, frames=frames, size=size, **options)
        return Projected(head, channels, project) if project else head


_SIZES = ("channels", "frames", "size")
_LARGEST = 1 << 20

"""What a head costs: its parameters, its arithmetic, the time of a training episode and the memory that it needs."""

import copy
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import median

import psutil
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ta2n.pipeline.heads import Head

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Costs:
    """The costs of one training episode.

    Attributes:
        parameters: numbers that training may change.
        macs: multiply-accumulates of its forward pass in matrix products and convolutions, what is done once a video
            included. What is computed element by element (OTAM's recursion, a softmax, a mean) is not counted.
        train_ms: milliseconds of its forward pass, loss and backward pass; the median of some repeats.
        peak_bytes: memory that these take on top of the maps and the head; None where the system does not tell.
    """

    parameters: int
    macs: int
    train_ms: float
    peak_bytes: int | None


def measure_costs(head: Head, support: Tensor, query: Tensor, labels: Tensor, *, shot: int, repeats: int = 3) -> Costs:
    """Measures a head on one episode, always by its own episodic loss, so that methods can be compared.

    Args:
        head: stays as it is: a copy is measured.
        support: maps (N·K, C, T, H, W), class-major, where the head is.
        query: maps (Q, C, T, H, W).
        labels: (Q,) int64, the class of each query.
        shot: K.
        repeats: of the timing.
    """
    copied = copy.deepcopy(head).train()
    learn = partial(_learn, copied, support, query, labels, shot)
    peak = peak_bytes(learn, support.device)
    times = [_milliseconds(learn, support.device) for _ in range(repeats)]
    return Costs(
        parameters=sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad),
        macs=count_macs(head, support.shape, query.shape, shot=shot),
        train_ms=median(times),
        peak_bytes=peak,
    )


def count_macs(head: Head, support: torch.Size, query: torch.Size, *, shot: int) -> int:
    """Multiply-accumulates of a head's forward pass on maps of two shapes; nothing is computed for it."""
    return _count(head, lambda shapes: shapes(_empty(support), _empty(query), shot=shot))


def count_embed_macs(head: Head, maps: torch.Size, *, shot: int) -> int:
    """Multiply-accumulates of what a head does once a video, on maps of a shape."""
    return _count(head, lambda shapes: shapes.embed(_empty(maps), shot=shot))


def _empty(shape: torch.Size) -> Tensor:
    return torch.empty(shape, device="meta")


def _count(head: Head, call: Callable[[Head], object]) -> int:
    # Shapes alone: a device whose kernels count but do not compute, and where no vendor kernel hides its products.
    shapes = copy.deepcopy(head).eval().to("meta")
    with torch.no_grad():
        return count_flops(lambda: call(shapes)) // 2


def count_flops(call: Callable[[], object]) -> int:
    """Operations of the convolutions and matrix products of a call, two for a multiplication and its addition."""
    with FlopCounterMode(display=False, custom_mapping=_IN_PLACE) as counter:
        call()
    return int(counter.get_total_flops())


def _product_flops(_: torch.Size, left: torch.Size, right: torch.Size, **__: object) -> int:
    return 2 * prod(left) * right[-1]


# What torch's counter does not know by itself.
_IN_PLACE = {torch.ops.aten.addmm_: _product_flops, torch.ops.aten.baddbmm_: _product_flops}


def peak_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """The most memory that a call holds on top of what was held before it, on its device.

    On CUDA what torch allocates; on the CPU what the process holds, which Linux alone can start counting anew.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    try:
        # Else freed memory that the allocator kept would be used again, and not be seen.
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")
    except (OSError, AttributeError):
        call()
        return None
    before = held_bytes()
    call()
    return max(0, _most_held_bytes() - before)


def held_bytes() -> int:
    """The memory that this process holds at this moment (its resident set)."""
    return int(psutil.Process().memory_info().rss)


def _most_held_bytes() -> int:
    """The most that it held since Linux was told to begin counting anew; no library reads this."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _learn(head: Head, support: Tensor, query: Tensor, labels: Tensor, shot: int) -> None:
    head.zero_grad()
    loss = head.loss(head(support, query, shot=shot), labels)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]


def _milliseconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start)

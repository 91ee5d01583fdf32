"""Exact gradients of an episode through the backbone, in the memory of one clip.

With batch norm frozen a backbone f treats clips independently. So for clips x_1 … x_n and the loss L of a head:

1. without gradients, z_i = f(x_i);
2. the head's loss on z gives the head's gradients, and g_i = ∂L/∂z_i;
3. clip by clip, f(x_i) once more, and backward of ⟨f(x_i), g_i⟩, whose sum over i is ∂L/∂θ.

Known as gradient caching (Gao, Zhang, Han and Callan, "Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup", 2021). Step 3 on a random part of the clips is the idea of LITE (Bronskill et al., "Memory Efficient
Meta-Learning with Large Images", NeurIPS 2021), here on queries too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import Head

Generator = torch.Generator | np.random.Generator


class EpisodeLoss(NamedTuple):
    """The sum of the head's loss terms, a scalar, and its distances (Q, N); both without a graph."""

    loss: Tensor
    distances: Tensor


def episode_backward(
    backbone: nn.Module,
    head: Head,
    support: Tensor,
    query: Tensor,
    labels: Tensor,
    shot: int = 1,
    clips_at_once: int = 1,
    grad_clips: int | None = None,
    generator: Generator | None = None,
    *,
    support_classes: Tensor | None = None,
    query_classes: Tensor | None = None,
) -> EpisodeLoss:
    """Adds the gradients of one episode's loss to ``.grad`` of backbone and head.

    Exact, as of one backward through everything, unless ``grad_clips`` is below the number of clips: then those of the
    head are exact, and those of the backbone unbiased. Random layers of the backbone draw in step 3 what they drew in
    step 1, and the global generators are left as a forward pass leaves them. Both steps run in the autocast mode of the
    caller.

    Args:
        backbone: (B, 3, h, w) -> (B, C, H, W), with its batch norm frozen.
        head: in the mode it is in.
        support: (N·K, T, 3, h, w), class-major; a clip at a time is taken to the backbone's device.
        query: (Q, T, 3, h, w).
        labels: (Q,) int64, the class of each query, 0 to N − 1.
        shot: K.
        clips_at_once: clips in one pass through the backbone, which decides the memory.
        grad_clips: k of the n clips, drawn at random, that the backbone's gradient is taken from, times n / k; None is
            all of them.
        generator: draws the k clips; None is torch's own.
        support_classes: (N·K,) int64, for heads with auxiliary terms: see :meth:`Head.losses`.
        query_classes: (Q,) likewise.

    Raises:
        InputError: the backbone's batch norm couples clips, a number of clips is out of its range, or the loss is not
            finite; no gradient is changed then.
    """
    clips = _Clips(support, query)
    taken = len(clips) if grad_clips is None else grad_clips
    _check(backbone, len(clips), clips_at_once, taken)
    learns = any(parameter.requires_grad for parameter in backbone.parameters())
    groups, chosen = _groups(len(clips), taken if learns else 0, clips_at_once, generator)
    device = next((one.device for one in backbone.parameters()), support.device)

    states = []
    maps: Tensor | None = None
    with torch.no_grad():
        for group in groups:
            states.append(_random_state(device))
            part = _maps(backbone, clips.take(group).to(device))
            maps = part.new_empty((len(clips), *part.shape[1:])) if maps is None else maps
            maps[group] = part
    if maps is None:
        raise InputError("an episode without clips has no gradient")
    leaf = maps.requires_grad_(learns)
    classes = {
        "support_classes": None if support_classes is None else support_classes.to(device),
        "query_classes": None if query_classes is None else query_classes.to(device),
    }
    result = _head_backward(head, leaf, len(support), labels.to(device), shot, classes)

    scale = len(clips) / taken if taken else 0.0
    for group, state in zip(groups[:chosen], states, strict=False):
        with _drawing_again(state, device):
            found = _maps(backbone, clips.take(group).to(device))
        if leaf.grad is not None:
            torch.autograd.backward(found, grad_tensors=leaf.grad[group] * scale)
    return result


class _Clips:
    """Support and query clips by one number, without a copy of all of them."""

    def __init__(self, support: Tensor, query: Tensor) -> None:
        self._support, self._query = support, query

    def __len__(self) -> int:
        return len(self._support) + len(self._query)

    def take(self, numbers: Sequence[int]) -> Tensor:
        """(B, T, 3, h, w)."""
        first = len(self._support)
        return torch.stack([self._support[one] if one < first else self._query[one - first] for one in numbers])


def _check(backbone: nn.Module, clips: int, at_once: int, taken: int) -> None:
    for name, module in backbone.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise InputError(
                f"the batch norm {name or 'of the backbone'} uses the statistics of its batch, so clips are coupled; "
                "freeze it: put it in evaluation mode, with running statistics"
            )
    if at_once < 1:
        raise InputError(f"clips_at_once is {at_once}, expected at least 1")
    if not 1 <= taken <= clips:
        raise InputError(f"grad_clips is {taken}, expected 1 to {clips}, the clips of the episode")


def _groups(clips: int, taken: int, at_once: int, generator: Generator | None) -> tuple[list[list[int]], int]:
    """Clips in passes: first those of step 3, in their order, then the others; and how many passes are of step 3.

    The passes of step 3 are passes of step 1 too, so that random layers can repeat their draws.
    """
    chosen = sorted(_drawn(clips, taken, generator)) if taken < clips else list(range(clips))
    others = sorted(set(range(clips)) - set(chosen))
    passes = [part[start : start + at_once] for part in (chosen, others) for start in range(0, len(part), at_once)]
    return passes, math.ceil(len(chosen) / at_once)


def _drawn(clips: int, taken: int, generator: Generator | None) -> list[int]:
    if isinstance(generator, np.random.Generator):
        return [int(one) for one in generator.choice(clips, taken, replace=False)]
    return [int(one) for one in torch.randperm(clips, generator=generator)[:taken]]


def _maps(backbone: nn.Module, frames: Tensor) -> Tensor:
    """(B, T, 3, h, w) -> (B, C, T, H, W)."""
    maps: Tensor = backbone(frames.flatten(0, 1))
    return torch.unflatten(maps, 0, frames.shape[:2]).transpose(1, 2)


def _head_backward(
    head: Head,
    maps: Tensor,
    shots: int,
    labels: Tensor,
    shot: int,
    classes: Mapping[str, Tensor | None],
) -> EpisodeLoss:
    """Step 2: the head's loss on leaves, and backward to them and to the head."""
    support, query = head.embed_episode(maps[:shots], maps[shots:], shot)
    distances = head.compare(support, query, shot)
    terms = head.losses(distances, labels, support=support, query=query, **classes)
    loss = torch.stack(list(terms.values())).sum()
    if not math.isfinite(loss.item()):
        raise InputError(f"training diverged: the loss of an episode is {loss.item()}; lower the learning rate")
    if loss.requires_grad:
        torch.autograd.backward(loss)
    return EpisodeLoss(loss.detach(), distances.detach())


_State = tuple[Tensor, Tensor | None]


def _random_state(device: torch.device) -> _State:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


@contextmanager
def _drawing_again(state: _State, device: torch.device) -> Iterator[None]:
    """Makes random draws inside the block start from a state, and leaves the global generators as they were."""
    processor, card = state
    with torch.random.fork_rng(devices=[] if card is None else [device]):
        torch.set_rng_state(processor)
        if card is not None:
            torch.cuda.set_rng_state(card, device)
        yield

"""Feature maps whose misalignment is known: actions that start late, run unevenly or stand elsewhere, on demand.

A class is a smooth field of channel vectors over progress p and place (y, x): a part common to all classes, which says
how far the action is and what is where, and a smaller part of its own. A clip looks at this field through its own
misalignment; what it sees beyond the field (before or after the action, beside the actor) is a scene of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
KINDS = ("duration", "evolution", "space")

# At strength 1: the shortest action in clips, the spread of the log speeds, the largest displacement in half frames.
SHORTEST = 0.4
UNEVENNESS = 1.5
FARTHEST = 0.6
SPEEDS = 4
WAVES_TIME, WAVES_SPACE = 5, 3


@dataclass(frozen=True)
class Look:
    """How clips look at their classes; arrays are over clips first.

    Attributes:
        progress: (B, T), the action runs from 0 to 1 and what is outside is before or after it.
        place: (B, 2), where the actor's centre is (x, y), in half frames.
    """

    progress: Floats
    place: Floats


def draw_look(
    generator: np.random.Generator, clips: int, frames: int, *, kinds: Sequence[str], strength: float
) -> Look:
    """Draw the misalignment of each clip.

    Args:
        generator: of the draws; every kind is drawn whether it is asked for or not, so kinds do not disturb each other.
        clips: B.
        frames: T.
        kinds: those of :data:`KINDS` that misalign.
        strength: 0 (clips aligned) to 1.
    """
    by = {kind: strength if kind in kinds else 0.0 for kind in KINDS}
    length = 1 - by["duration"] * (1 - SHORTEST) * generator.random((clips, 1))
    start = (1 - length) * generator.random((clips, 1))
    when = (np.linspace(0, 1, frames) - start) / length
    speeds = np.exp(by["evolution"] * UNEVENNESS * generator.standard_normal((clips, SPEEDS)))
    place = by["space"] * FARTHEST * generator.uniform(-1, 1, (clips, 2))
    return Look(progress=uneven_progress(when, speeds), place=place)


def uneven_progress(when: Floats, speeds: Floats) -> Floats:
    """Progress (B, T) at times (B, T) of actions whose equal stretches of time have speeds (B, S) to one another.

    It rises from 0 at time 0 to 1 at time 1; times outside stay as they are.
    """
    done = np.concatenate([np.zeros((len(speeds), 1)), np.cumsum(speeds, 1)], 1) / speeds.sum(1, keepdims=True)
    knots = np.linspace(0, 1, speeds.shape[1] + 1)
    inside = np.stack([np.interp(t, knots, d) for t, d in zip(when, done, strict=True)])
    return np.where((when < 0) | (when > 1), when, inside)


class World:
    """Classes and the clips one can take of them: all a function of the seed and the numbers asked for.

    Args:
        seed: of what is common to all classes, and of the classes.
        channels: C.
        frames: T.
        size: H = W.
        own: size of a class's own part, the common part being 1.
        noise: of every number of a map.
    """

    def __init__(
        self, seed: int, *, channels: int = 16, frames: int = 8, size: int = 7, own: float = 0.5, noise: float = 0.5
    ) -> None:
        self.seed, self.channels, self.frames, self.size = seed, channels, frames, size
        self.own, self.noise = own, noise
        generator = np.random.default_rng([seed, 0])
        self.common = _field(generator, channels, WAVES_TIME)
        self.empty = _field(generator, channels, 1)

    def script(self, label: int) -> Floats:
        """The waves (C, P, Y, X) of a class."""
        return self.common + self.own * _field(np.random.default_rng([self.seed, 1, label]), self.channels, WAVES_TIME)

    def look(self, clips: int, number: int, *, kinds: Sequence[str], strength: float) -> Look:
        """The misalignment of :meth:`clips` of the same arguments, for as many labels."""
        generator = np.random.default_rng([self.seed, 2, number])
        return draw_look(generator, clips, self.frames, kinds=kinds, strength=strength)

    def clips(
        self, labels: Sequence[int] | NDArray[np.int64], number: int, *, kinds: Sequence[str], strength: float
    ) -> Tensor:
        """Take one clip of each label.

        Args:
            labels: classes, (B,).
            number: another number gives other clips.
            kinds: of misalignment.
            strength: 0 to 1. The scene and the noise of a clip do not depend on it.

        Returns:
            (B, C, T, H, W) float32, not negative.
        """
        look = self.look(len(labels), number, kinds=kinds, strength=strength)
        generator = np.random.default_rng([self.seed, 3, number])
        scripts = {label: self.script(label) for label in set(map(int, labels))}
        scenes = self.empty + self.own * _field(generator, self.channels, 1, len(labels))
        maps = np.stack(
            [
                seen(scripts[int(label)], scene, progress, place, self.size)
                for label, scene, progress, place in zip(labels, scenes, look.progress, look.place, strict=True)
            ]
        )
        maps += self.noise * generator.standard_normal(maps.shape)
        return torch.from_numpy(np.maximum(maps, 0).astype(np.float32))


def seen(script: Floats, scene: Floats, progress: Floats, place: Floats, size: int) -> Floats:
    """What a clip without noise shows: the field of its class where the action is, elsewhere its scene.

    Args:
        script: (C, P, Y, X) waves.
        scene: (C, 1, Y, X) waves.
        progress: (T,).
        place: (2,), (x, y) in half frames.
        size: H = W.

    Returns:
        (C, T, H, W).
    """
    grid = np.linspace(-1, 1, size)
    x, y = grid - place[0], grid - place[1]
    action = np.einsum(
        "cpyx,tp,hy,wx->cthw", script, _waves(progress, script), _waves_at(y), _waves_at(x), optimize=True
    )
    idle = np.einsum("cpyx,hy,wx->chw", scene, _waves_at(grid), _waves_at(grid), optimize=True)[:, None]
    half = 1 + 1 / (size - 1)  # the border is half a cell beyond the centres of the outermost cells
    during = (progress >= 0) & (progress <= 1)
    there = during[:, None, None] & (np.abs(y) < half)[:, None] & (np.abs(x) < half)
    return np.asarray(np.where(there, action, idle))


def _field(generator: np.random.Generator, channels: int, times: int, *batch: int) -> Floats:
    """Random waves (…, C, P, Y, X) of mean square 1 over the field; the quicker the smaller."""
    decay = np.multiply.outer(_decay(times), np.multiply.outer(_decay(WAVES_SPACE), _decay(WAVES_SPACE)))
    return np.asarray(generator.standard_normal((*batch, channels, *decay.shape)) * decay)


def _decay(waves: int) -> Floats:
    size = 1 / (1 + np.arange(waves))
    return np.asarray(size / np.sqrt((size**2).sum()))


def _waves(progress: Floats, script: Floats) -> Floats:
    return _cosines(progress, script.shape[-3])


def _waves_at(places: Floats) -> Floats:
    return _cosines((places + 1) / 2, WAVES_SPACE)


def _cosines(at: Floats, count: int) -> Floats:
    """(n,) in [0, 1] to (n, count): cosines of 0, ½, 1 … turns, each of mean square 1."""
    waves = np.cos(np.pi * np.multiply.outer(at, np.arange(count)))
    waves[..., 1:] *= np.sqrt(2)
    return np.asarray(waves)

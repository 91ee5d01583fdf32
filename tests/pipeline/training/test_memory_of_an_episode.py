"""The memory of an episode's gradients: flat in the number of clips, where plain autograd's grows."""

import subprocess
import sys

import pytest

CHILD = """
import sys
import torch
from torch import nn
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.training.gradient_cache import episode_backward

torch.set_num_threads(1)
layers = [nn.Conv2d(3, 16, 3, padding=1)]
for _ in range(6):
    layers += [nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4))
head = build_head("protonet", channels=16, frames=8, size=4)
clip = torch.rand(1, 8, 3, 64, 64)

def cached(way, queries):
    frames = clip.expand(way * (1 + queries), *clip.shape[1:])
    labels = torch.arange(way).repeat_interleave(queries)
    episode_backward(network, head, frames[:way], frames[way:], labels)

def plain(way, queries):
    maps = network(clip.expand(way * (1 + queries), *clip.shape[1:]).flatten(0, 1))
    maps = maps.unflatten(0, (-1, 8)).transpose(1, 2)
    labels = torch.arange(way).repeat_interleave(queries)
    support, query = head.embed_episode(maps[:way], maps[way:], 1)
    sum(head.losses(head.compare(support, query, 1), labels, support=support, query=query).values()).backward()

def peak():
    # Of this program alone: what getrusage says begins at the size of the process that started it.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

step = {"cached": cached, "plain": plain}[sys.argv[1]]
step(2, 1)
few = peak()
step(5, 7)
print((peak() - few) / 1024)
"""


def growth(way: str) -> float:
    """Megabytes by which the peak of a process grows from 4 to 40 clips."""
    command = [sys.executable, "-c", CHILD, way]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a program in /proc")
def test_the_peak_does_not_grow_with_the_clips() -> None:
    # A clip's activations are 13 maps of 8×16×64×64 float32: 27 MB.
    assert growth("plain") > 300
    assert growth("cached") < 60

"""CMN: worked by hand, against the plain form, and the behaviour of every head."""

import pytest
import torch
from head_behaviour import HeadBehaviour, NearestToItself
from plain_cmn import plain_cmn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.cmn import CMN
from ta2n.pipeline.heads.interface import ClipEmbedder


class TestCMN(HeadBehaviour, NearestToItself):
    method = "cmn"
    options = {"dropout": 0.0}  # noqa: RUF012
    frame_counts = (1, 2, 8)


@pytest.mark.parametrize(("frames", "shot", "keys"), [(1, 1, 8), (5, 1, 3), (8, 2, 8)])
def test_the_plain_form(frames: int, shot: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(frames)
    head = build_head("cmn", channels=4, frames=frames, size=2, keys=keys).double().eval()
    support = torch.randn(3 * shot, 4, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 4, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    parameters = list(head.parameters())
    distances, plain = head(support, query, shot=shot), plain_cmn(support, query, shot, *parameters)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *parameters)
    found = torch.autograd.grad((distances * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_worked_by_hand() -> None:
    """One key at (0, 0) takes every frame whole: frames (3, 0) and (0, 4) leave (3, 4), of length 1 (0.6, 0.8)."""
    head = build_head("cmn", channels=2, frames=2, size=1, keys=1)
    assert isinstance(head, CMN)
    with torch.no_grad():
        head.keys.zero_()
        head.linear.weight.copy_(torch.eye(512, 2))
        head.linear.bias.zero_()
    clip = torch.tensor([[3.0, 0.0], [0.0, 4.0]])[None, :, :, None, None]
    found = head.eval().embed_clip(clip)
    torch.testing.assert_close(found[0, :3], torch.tensor([0.6, 0.8, 0.0]))
    other = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[None, :, :, None, None]
    torch.testing.assert_close(head(clip, other), torch.tensor([[0.4**2 + 0.8**2]]))


def test_it_embeds_a_clip_on_its_own() -> None:
    head = build_head("cmn", channels=5, frames=4, size=2).eval()
    assert isinstance(head, ClipEmbedder)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert head.embed_clip(maps).shape == (3, head.clip_channels)


def test_no_keys_are_refused() -> None:
    with pytest.raises(InputError, match="keys=0"):
        build_head("cmn", channels=2, frames=1, size=1, keys=0)

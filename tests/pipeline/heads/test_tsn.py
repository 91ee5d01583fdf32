"""TSN++: TRN++ with single frames, blind to their order, and the behaviour of every head."""

import pytest
import torch
from head_behaviour import HeadBehaviour, NearestToItself
from plain_trn import plain_trn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.interface import ClipEmbedder


class TestTSN(HeadBehaviour, NearestToItself):
    method = "tsn++"
    options = {"dropout": 0.0}  # noqa: RUF012
    frame_counts = (1, 2, 8)


@pytest.mark.parametrize("shot", [1, 3])
def test_the_plain_form(shot: int) -> None:
    generator = torch.Generator().manual_seed(shot)
    head = build_head("tsn++", channels=4, frames=3, size=2).double().eval()
    support = torch.randn(3 * shot, 4, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 4, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    weight, bias = head.parameters()
    distances, plain = head(support, query, shot=shot), plain_trn(support, query, shot, [(weight, bias)])
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, weight, bias)
    found = torch.autograd.grad((distances * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_query_equal_to_a_shot_is_nearest_to_it_in_any_order_of_frames() -> None:
    maps = torch.rand(4, 5, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    distances = build_head("tsn++", channels=5, frames=8, size=2).eval()(maps, maps.flip(2))
    assert distances.argmin(1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(distances.diagonal(), torch.zeros(4), rtol=0, atol=1e-6)


def test_it_embeds_a_clip_on_its_own() -> None:
    head = build_head("tsn++", channels=5, frames=4, size=2).eval()
    assert isinstance(head, ClipEmbedder)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    clips = head.embed_clip(maps)
    assert clips.shape == (3, head.clip_channels)
    assert torch.equal(clips, head.embed(maps, shot=1)["clip"])


def test_dropout_drops_in_training_only() -> None:
    head = build_head("tsn++", channels=5, frames=4, size=2)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(head(maps, maps), head(maps, maps))
    assert torch.equal(head.eval()(maps, maps), head(maps, maps))


def test_a_dropout_of_everything_is_refused() -> None:
    with pytest.raises(InputError, match=r"dropout=1.0 is not a probability below 1"):
        build_head("tsn++", channels=2, frames=2, size=1, dropout=1.0)

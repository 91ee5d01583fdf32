"""TRN++: tuples by hand and by property, the plain form, and the behaviour of every head."""

from itertools import combinations, pairwise
from math import comb

import pytest
import torch
from head_behaviour import HeadBehaviour, NearestToItself
from hypothesis import given
from hypothesis import strategies as st
from plain_trn import plain_trn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.interface import ClipEmbedder
from ta2n.pipeline.heads.trn import MOST_TUPLES, TRN, Relation, ordered_tuples


class TestTRN(HeadBehaviour, NearestToItself):
    method = "trn++"
    options = {"dropout": 0.0}  # noqa: RUF012
    frame_counts = (2, 3, 8, 10)


@given(st.integers(1, 8), st.integers(1, 8))
def test_up_to_eight_frames_every_tuple_is_used(frames: int, scale: int) -> None:
    assert ordered_tuples(frames, scale) == list(combinations(range(frames), scale))


@given(st.integers(2, 40), st.integers(1, 40), st.integers(2, 90))
def test_of_more_tuples_some_are_spread_over_all_of_them(frames: int, scale: int, most: int) -> None:
    scale = min(scale, frames)
    found = ordered_tuples(frames, scale, most)
    assert len(found) == min(comb(frames, scale), most)
    assert found == sorted(set(found))
    assert found[0] == tuple(range(scale))
    assert found[-1] == tuple(range(frames - scale, frames))
    assert all(len(one) == scale and list(one) == sorted(set(one)) and one[-1] < frames for one in found)


@pytest.mark.parametrize(("frames", "scale", "most"), [(10, 3, 7), (10, 5, 70), (9, 4, 125)])
def test_the_spread_is_even(frames: int, scale: int, most: int) -> None:
    every = list(combinations(range(frames), scale))
    places = [every.index(one) for one in ordered_tuples(frames, scale, most)]
    steps = {after - before for before, after in pairwise(places)}
    assert max(steps) - min(steps) <= 1


def test_a_relation_worked_by_hand() -> None:
    """Frames 1, 2, 5 of one channel and later − earlier: 1, 4 and 3, with the mean 8/3; reversed all negative."""
    relation = Relation(1, 3, 2)
    torch.nn.init.zeros_(relation.bottleneck.bias)
    with torch.no_grad():
        relation.bottleneck.weight.copy_(torch.tensor([-1.0, 1.0]).expand(256, 2))
    frames = torch.tensor([1.0, 2, 5])[None, :, None]
    torch.testing.assert_close(relation(frames), torch.full((1, 256), 8 / 3))
    assert relation(frames.flip(1)).count_nonzero() == 0


@pytest.mark.parametrize(("frames", "shot"), [(2, 1), (5, 1), (8, 2)])
def test_the_plain_form(frames: int, shot: int) -> None:
    generator = torch.Generator().manual_seed(frames)
    head = build_head("trn++", channels=4, frames=frames, size=2).double().eval()
    assert isinstance(head, TRN)
    support = torch.randn(3 * shot, 4, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 4, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    parameters = list(head.parameters())
    scales = [(parameters[i], parameters[i + 1]) for i in range(0, len(parameters), 2)]
    distances, plain = head(support, query, shot=shot), plain_trn(support, query, shot, scales)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *parameters)
    found = torch.autograd.grad((distances * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_it_sees_the_order_of_frames() -> None:
    maps = torch.rand(1, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert build_head("trn++", channels=5, frames=4, size=2).eval()(maps, maps.flip(2)).item() > 1e-4


def test_many_frames_stay_affordable() -> None:
    head = build_head("trn++", channels=2, frames=12, size=1)
    assert isinstance(head, TRN)
    counts = [len(scale.get_buffer("members")) for scale in head.scales]
    assert counts == [66, *[MOST_TUPLES] * 7, 66, 12, 1]


def test_it_embeds_a_clip_on_its_own() -> None:
    head = build_head("trn++", channels=5, frames=4, size=2).eval()
    assert isinstance(head, ClipEmbedder)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    clips = head.embed_clip(maps)
    assert clips.shape == (3, head.clip_channels)
    assert torch.equal(clips, head.embed(maps, shot=1)["clip"])


def test_dropout_drops_in_training_only() -> None:
    head = build_head("trn++", channels=5, frames=4, size=2)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(head(maps, maps), head(maps, maps))
    assert torch.equal(head.eval()(maps, maps), head(maps, maps))


def test_what_it_cannot_be_built_with_is_refused() -> None:
    with pytest.raises(InputError, match=r"needs 2, but frames=1; use tsn\+\+"):
        build_head("trn++", channels=2, frames=1, size=1)
    with pytest.raises(InputError, match=r"dropout=1.0 is not a probability below 1"):
        build_head("trn++", channels=2, frames=2, size=1, dropout=1.0)

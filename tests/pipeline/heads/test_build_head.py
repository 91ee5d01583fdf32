"""The table of heads and what it refuses; the projection."""

import pytest
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import HEADS, build_head


def test_an_unknown_method_names_the_choices() -> None:
    with pytest.raises(InputError, match=r"no head named 'resnet'; choose one of .*protonet.*ta2n"):
        build_head("resnet", channels=4, frames=4, size=4)


def test_an_unknown_option_names_the_choices() -> None:
    with pytest.raises(InputError, match=r"'ta2n' has no option warp; its options are ttm, tc, sc, .*dropout"):
        build_head("ta2n", channels=4, frames=4, size=4, warp=True)


@pytest.mark.parametrize("axis", ["channels", "frames", "size", "project"])
def test_a_size_below_one_is_refused(axis: str) -> None:
    sizes = {"channels": 4, "frames": 4, "size": 4, axis: -1}
    with pytest.raises(InputError, match=f"{axis}=-1 is not a size"):
        build_head("protonet", **sizes)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_says_where_it_comes_from(name: str) -> None:
    assert HEADS[name].__doc__


def test_a_projection_that_loses_nothing_keeps_cosines() -> None:
    maps = torch.rand(4, 6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    projected = build_head("protonet", channels=6, frames=3, size=2, project=9)
    raw = build_head("protonet", channels=6, frames=3, size=2)
    torch.testing.assert_close(projected(maps, maps), raw(maps, maps), rtol=0, atol=1e-5)


def test_a_projection_to_fewer_channels_starts_orthonormal() -> None:
    weight = build_head("protonet", channels=6, frames=3, size=2, project=4).get_parameter("projection.weight")
    torch.testing.assert_close(weight @ weight.T, torch.eye(4))


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("ttm", (True, False, False)),
        ("tc", (False, True, False)),
        ("sc", (False, False, True)),
        ("ttm+tc", (True, True, False)),
    ],
)
def test_the_ablations_are_ta2n_with_parts_switched_off(name: str, switches: tuple[bool, bool, bool]) -> None:
    ttm, tc, sc = switches
    ablation = build_head(name, channels=4, frames=4, size=7, seed=3).eval()
    switched = build_head("ta2n", channels=4, frames=4, size=7, seed=3, ttm=ttm, tc=tc, sc=sc).eval()
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.rand(3, 4, 4, 7, 7, generator=generator) for _ in range(2))
    assert torch.equal(ablation(support, query), switched(support, query))
    assert ablation.state_dict().keys() == switched.state_dict().keys()

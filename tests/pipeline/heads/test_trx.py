"""TRX: worked by hand, against the plain form, and the behaviour of every head."""

from math import cos, sin
from typing import Any

import pytest
import torch
from golden_files import Golden, check_training, close, distances_of, read_golden, same, state_of
from head_behaviour import HeadBehaviour
from plain_trx import plain_trx
from shared_data import needs_shared
from torch import nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.trx import TRX, Tuples, position_code, published_name, rebuilding_distances


class TestTRX(HeadBehaviour):
    method = "trx"
    options = {"dropout": 0.0}  # noqa: RUF012
    frame_counts = (2, 3, 8)


@pytest.fixture(params=["trx_1shot_pairs", "trx_1shot_triples", "trx_5shot_pairs_triples"])
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


def built(golden: Golden) -> TRX:
    cardinalities = golden["cardinalities"].tolist()
    head = build_head("trx", channels=32, frames=8, size=2, cardinalities=cardinalities, dropout=0.0)
    assert isinstance(head, TRX)
    head.load_official_state_dict(state_of(golden))
    return head.eval()


@needs_shared
def test_the_golden_distances(golden: Golden) -> None:
    close(distances_of(built(golden), golden), golden["eval/distances"])
    # A head of its own: one that was in float32 has a rounded position code.
    same(distances_of(built(golden), golden, double=True), golden["eval64/distances"])


@needs_shared
def test_the_golden_parts(golden: Golden) -> None:
    head = built(golden)
    close(head.code.float(), golden["eval/position_code"])
    for side in ("support", "query"):
        embedding = head.embed(golden[side], shot=int(golden["shot"]))
        for scale in golden["cardinalities"].tolist():
            for part in ("key", "value"):
                close(embedding[f"{part}{scale}"][:1, :10], golden[f"eval/{side}_{part}_{scale}"])


@needs_shared
def test_the_golden_training(golden: Golden) -> None:
    head = built(golden)
    published = {name: head.get_parameter(published_name(name)) for name in state_of(golden) if "norm_v" not in name}
    check_training(head, golden, published)


def test_published_weights_that_do_not_fit_are_named() -> None:
    head = build_head("trx", channels=2, frames=3, size=1, cardinalities=[2])
    assert isinstance(head, TRX)
    with pytest.raises(InputError, match=r"trx head \(missing: tuples.0.key.weight, .*; unknown: head.weight\)"):
        head.load_official_state_dict({"head.weight": torch.zeros(1), "transformers.0.norm_v.bias": torch.zeros(1)})


@pytest.mark.parametrize(("frames", "shot", "cardinalities"), [(2, 1, None), (4, 2, None), (3, 1, [3]), (4, 1, [1, 4])])
def test_the_plain_form(
    frames: int, shot: int, cardinalities: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ta2n.pipeline.heads.trx.WIDTH", 7)
    generator = torch.Generator().manual_seed(frames)
    head = build_head("trx", channels=5, frames=frames, size=2, cardinalities=cardinalities).double().eval()
    assert isinstance(head, TRX)
    support = torch.randn(3 * shot, 5, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 5, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=generator)
    weights: dict[int, Any] = {part.scale: tuple(part.parameters()) for part in head.tuples}  # type: ignore[misc]
    distances, plain = head(support, query, shot=shot), plain_trx(support, query, shot, weights)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *head.parameters())
    found = torch.autograd.grad((distances * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_rebuilding_worked_by_hand() -> None:
    """Keys of 0 share alike: from the values 1 and 3 comes 2, at squared distance 9 from 5."""
    nothing = torch.zeros(1, 1, 1)
    found = rebuilding_distances(
        nothing, torch.full((1, 1, 1), 5.0), torch.zeros(1, 2, 1), torch.tensor([[[1.0], [3]]])
    )
    assert found.tolist() == [[9.0]]


def test_a_tuple_is_the_map_of_its_concatenated_frames() -> None:
    part = Tuples(3, 4, 2)
    frames = torch.rand(1, 4, 3, generator=torch.Generator().manual_seed(0))
    values = part(frames)[1][0]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for row, (first, second) in zip(values, pairs, strict=True):
        torch.testing.assert_close(row, part.value(torch.cat([frames[0, first], frames[0, second]])))


def test_the_position_code() -> None:
    code = position_code(3, 5)
    assert code.shape == (3, 5)
    assert code[0].tolist() == [0, 0.1, 0, 0.1, 0]
    assert code[2, :2].tolist() == pytest.approx([0.1 * sin(2), 0.1 * cos(2)])
    assert code.abs().max() <= 0.1


def test_it_sees_the_order_of_frames() -> None:
    maps = torch.rand(1, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert build_head("trx", channels=5, frames=4, size=2).eval()(maps, maps.flip(2)).item() > 1e-6


def test_dropout_drops_in_training_only() -> None:
    head = build_head("trx", channels=5, frames=4, size=2)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(head(maps, maps), head(maps, maps))
    assert torch.equal(head.eval()(maps, maps), head(maps, maps))


@pytest.mark.parametrize(("frames", "cardinalities"), [(1, None), (4, [5]), (4, []), (4, [0])])
def test_cardinalities_that_do_not_fit(frames: int, cardinalities: list[int] | None) -> None:
    with pytest.raises(InputError, match=rf"does not fit {frames} frames"):
        build_head("trx", channels=2, frames=frames, size=1, cardinalities=cardinalities)

"""Chamfer++: the published numbers, its plain form, by hand, and the behaviour of every head."""

from itertools import combinations
from typing import Any

import pytest
import torch
from golden_files import Golden, check_training, close, distances_of, read_golden, same, state_of
from head_behaviour import HeadBehaviour
from plain_chamfer import plain_chamfer
from shared_data import needs_shared
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.chamfer import Chamfer, chamfer_similarities, set_similarity


class TestChamfer(HeadBehaviour):
    method = "chamfer"
    options = {"width": 16}  # noqa: RUF012
    frame_counts = (3, 4, 8)


class TestChamferOfFrames(TestChamfer):
    options = {"width": 16, "tuple_length": 1}  # noqa: RUF012
    frame_counts = (1, 2, 8)


@pytest.fixture(params=["chamfer_1shot", "chamfer_5shot"])
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


def built(golden: Golden) -> Chamfer:
    channels, frames, size = golden["support"].shape[1:4]
    options = {"tuple_length": int(golden["tuple_length"]), "width": len(golden["state/fc.bias"])}
    head = build_head("chamfer", channels=channels, frames=frames, size=size, **options)
    assert isinstance(head, Chamfer)
    head.load_official_state_dict(state_of(golden))
    return head.eval()


@needs_shared
def test_the_golden_distances(golden: Golden) -> None:
    head = built(golden)
    close(distances_of(head, golden), golden["eval/distances"])
    same(distances_of(head, golden, double=True), golden["eval64/distances"])


@needs_shared
def test_the_golden_parts(golden: Golden) -> None:
    head, shot = built(golden), int(golden["shot"])
    support, query = (head.embed(golden[name], shot=shot)["tuples"] for name in ("support", "query"))
    close(support[:2, :10], golden["eval/support_projected"])
    close(query[:2, :10], golden["eval/query_projected"])
    table = set_similarity(query, torch.unflatten(support, 0, (-1, shot)).flatten(1, 2))
    first = golden["eval/tuple_similarity"]
    # The file has the shots of a class one after the other, on an axis with the classes.
    close(torch.unflatten(table[:1], 3, (shot, -1)).transpose(2, 3).reshape(first.shape), first)
    close(torch.stack(chamfer_similarities(table)).mean(0), golden["eval/similarity"])


@needs_shared
def test_the_golden_training(golden: Golden) -> None:
    head = built(golden)
    check_training(head, golden, dict(head.named_parameters()))


@needs_shared
@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_golden_matching_without_a_projection(length: int) -> None:
    golden = read_golden("matching_plain")
    shot = int(golden["shot"])
    support, query = (side_by_side(golden[name].mean((3, 4)).transpose(1, 2), length) for name in ("support", "query"))
    tables = {
        "joint": set_similarity(query, torch.unflatten(support, 0, (-1, shot)).flatten(1, 2)),
        "separate": set_similarity(query, support),
    }
    for how, table in tables.items():
        to_class, to_query = chamfer_similarities(table)
        found = {
            "mean": table.sum(3).mean(2),
            "max": table.amax((2, 3)),
            "chamfer-query": to_class,
            "chamfer-support": to_query,
            "chamfer": (to_class + to_query) / 2,
            "diag": table.diagonal(dim1=2, dim2=3).mean(2),
        }
        for name, similarity in found.items():
            of_classes = similarity if how == "joint" else torch.unflatten(similarity, 1, (-1, shot)).mean(2)
            if (name, how) != ("diag", "joint"):
                close(of_classes, golden[f"eval/similarity_{name}_{how}_{length}"])
            if (name, how, length) == ("chamfer", "joint", 1):
                close(-of_classes, golden["eval/distances"])


def side_by_side(frames: Tensor, length: int) -> Tensor:
    """(B, T, C) -> (B, M, length·C)."""
    chosen = torch.tensor(list(combinations(range(frames.shape[1]), length)))
    return frames[:, chosen].flatten(2)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("shot", [1, 2])
def test_the_plain_form_and_its_gradients(shot: int, length: int) -> None:
    generator = torch.Generator().manual_seed(shot)
    head = build_head("chamfer", channels=5, frames=4, size=2, tuple_length=length, width=7).double()
    support, query = (
        torch.randn(count, 5, 4, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        for count in (3 * shot, 2)
    )
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=generator)
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    distances = head(support, query, shot=shot)
    plain = plain_chamfer(support, query, shot, length, dict(head.named_parameters()))
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *head.parameters())
    found, expected = (torch.autograd.grad((one * upstream).sum(), inputs) for one in (distances, plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_matching_by_hand() -> None:
    to_class, to_query = chamfer_similarities(torch.tensor([[0.5, 1, 0], [0.25, 0, 0]]))
    assert to_class.item() == pytest.approx((1 + 0.25) / 2)
    assert to_query.item() == pytest.approx((0.5 + 1 + 0) / 3)


def test_the_cosine_is_padded() -> None:
    """3 / (1·3 + 0.01)."""
    assert set_similarity(torch.tensor([[[1.0]]]), torch.tensor([[[3.0]]])).item() == pytest.approx(3 / 3.01)


def test_it_begins_at_the_published_temperature() -> None:
    head = build_head("chamfer", channels=5, frames=4, size=2)
    assert isinstance(head, Chamfer)
    assert (head.fc.out_features, head.fc.in_features) == (1152, 15)
    assert head.temperature_weight.tolist() == pytest.approx([0.1])
    assert head.global_temperature.item() == 100


def test_it_sees_the_order_of_frames() -> None:
    maps = torch.rand(1, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    head = build_head("chamfer", channels=5, frames=4, size=2)
    assert (head(maps, maps.flip(2)) - head(maps, maps)).item() > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuple_length": 5}, "tuple_length=5 does not fit 4 frames"),
        ({"tuple_length": 0}, "tuple_length=0 does not fit 4 frames"),
        ({"width": 0}, "width=0 is not a number of units"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_head("chamfer", channels=2, frames=4, size=1, **options)


def test_weights_that_do_not_fit_are_named() -> None:
    head = build_head("chamfer", channels=3, frames=4, size=1, width=7)
    assert isinstance(head, Chamfer)
    state = head.state_dict()
    del state["fc.bias"]
    with pytest.raises(InputError, match=r"this chamfer head \(missing: fc.bias\)"):
        head.load_official_state_dict(state)

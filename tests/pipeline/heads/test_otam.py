"""OTAM: the published numbers, its plain form, gradients, and the behaviour of every head."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import check_training, close, distances_of, read_golden, same
from head_behaviour import HeadBehaviour
from plain_otam import plain_otam
from shared_data import GOLDEN, needs_shared

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.otam import OTAM, cumulative_distance


class TestOTAM(HeadBehaviour):
    method = "otam"
    frame_counts = (1, 2, 8)
    trained = False


class TestOTAMOfThePublicCode(TestOTAM):
    options = {"cosine_padding": 0.01}  # noqa: RUF012


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return dict(np.load(GOLDEN / "otam.npz"))


@needs_shared
def test_the_golden_distances(golden: dict[str, Any]) -> None:
    table = torch.from_numpy(golden["frame_distances"])
    smoothing = float(golden["lbda"])
    to_support = cumulative_distance(table, smoothing)
    to_query = cumulative_distance(table.transpose(-1, -2), smoothing)
    np.testing.assert_allclose(to_support.numpy(), golden["query_to_support"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_query.numpy(), golden["support_to_query"], rtol=1e-4, atol=1e-5)


@needs_shared
def test_the_golden_head(golden: dict[str, Any]) -> None:
    support, query = (torch.from_numpy(golden[name]).transpose(1, 2)[..., None, None] for name in ("support", "query"))
    head = OTAM(24, frames=8, size=1, smoothing=float(golden["lbda"]))
    np.testing.assert_allclose(head(support, query).numpy(), golden["both"], rtol=1e-4, atol=1e-5)


@needs_shared
def test_the_golden_head_of_the_public_code() -> None:
    golden = read_golden("otam_features_5shot")
    head = OTAM(32, frames=8, size=2, smoothing=float(golden["lbda"]), cosine_padding=0.01)
    close(distances_of(head, golden), golden["eval/distances"])
    same(distances_of(head, golden, double=True), golden["eval64/distances"])
    check_training(head.float(), golden, {})


@needs_shared
def test_the_golden_cosines_of_mean_frames() -> None:
    golden = read_golden("otam_features_5shot")
    head = OTAM(32, frames=8, size=2, cosine_padding=0.01)
    support, query = (golden[name].mean((2, 3, 4))[:, None] for name in ("support", "query"))
    cosines = head.cosines(query, support)[..., 0, 0]
    close(torch.unflatten(cosines, 1, (-1, int(golden["shot"]))).mean(2), golden["eval/similarity_tsn"])


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.5}, {"cosine_padding": 0.01}])
@pytest.mark.parametrize("shot", [1, 2])
def test_the_plain_form_and_its_gradients(shot: int, options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(shot)
    support, query = (
        torch.rand(count, 3, 4, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        for count in (2 * shot, 2)
    )
    found = build_head("otam", channels=3, frames=4, size=2, **options)(support, query, shot=shot)
    plain = plain_otam(support, query, shot, **options)
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-10)
    upstream = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((one * upstream).sum(), (support, query)) for one in (found, plain)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_gradcheck() -> None:
    table = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: cumulative_distance(values, 0.1), (table,))


def test_one_frame_by_hand() -> None:
    """A single row is a running sum: the distance itself."""
    assert cumulative_distance(torch.tensor([[0.7]]), 0.1).item() == pytest.approx(0.7)


def test_two_rows_and_one_column_by_hand() -> None:
    """Costs 0 | a | a in the first row; then min(0, a, 0) + b, and min(a, a, that) + 0."""
    a, b, smoothing = 0.3, 0.2, 0.1

    def softmin(*values: float) -> float:
        return -smoothing * math.log(sum(math.exp(-value / smoothing) for value in values))

    cell = b + softmin(0, a, 0)
    expected = softmin(a, a, cell)
    table = torch.tensor([[a], [b]], dtype=torch.float64)
    assert cumulative_distance(table, smoothing).item() == pytest.approx(expected)


def test_a_shift_in_time_costs_less_than_another_action() -> None:
    generator = torch.Generator().manual_seed(0)
    action, other = torch.rand(2, 16, 8, 1, 1, generator=generator)
    shifted = torch.cat([action[:, :1], action[:, :1], action[:, :6]], dim=1)
    head = build_head("otam", channels=16, frames=8, size=1)
    near, far = head(torch.stack([action, other]), shifted[None])[0].tolist()
    assert near < far


def test_a_smoothing_out_of_range() -> None:
    with pytest.raises(InputError, match="above 0"):
        build_head("otam", channels=3, frames=4, size=2, smoothing=0)


@pytest.mark.parametrize("padding", [-0.01, math.inf, math.nan])
def test_a_padding_out_of_range(padding: float) -> None:
    with pytest.raises(InputError, match="is not 0 or more"):
        build_head("otam", channels=3, frames=4, size=2, cosine_padding=padding)

"""Bi-MHM: the published numbers, its plain form, by hand, and the behaviour of every head."""

import pytest
import torch
from golden_files import close, distances_of, read_golden, same
from head_behaviour import HeadBehaviour, NearestToItself
from plain_bimhm import plain_bimhm
from shared_data import needs_shared

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.ops.clip_matching import mean_hausdorff


class TestBiMHM(HeadBehaviour, NearestToItself):
    method = "bimhm"
    trained = False
    frame_counts = (1, 2, 8)


class TestBiMHMOfMeanFrames(TestBiMHM):
    options = {"shots": "frames"}  # noqa: RUF012


@needs_shared
def test_the_golden_distances() -> None:
    golden = read_golden("bimhm")
    head = build_head("bimhm", channels=32, frames=8, size=2)
    close(distances_of(head, golden), golden["eval/distances"])
    same(distances_of(head, golden, double=True), golden["eval64/distances"])
    of_means = build_head("bimhm", channels=32, frames=8, size=2, shots="frames")
    close(distances_of(of_means, golden), golden["eval/distances_of_mean_frames"])


@needs_shared
def test_the_golden_parts() -> None:
    golden = read_golden("bimhm")
    head = build_head("bimhm", channels=32, frames=8, size=2)
    support, query = (head.embed(golden[name], shot=1) for name in ("support", "query"))
    close(support["frames"], golden["eval/support_frames"])
    close(query["frames"], golden["eval/query_frames"])
    close(head.compare(support, query, 1), golden["eval/clip_distances"])
    close(mean_hausdorff(golden["eval/frame_distances"]), golden["eval/clip_distances"])


@pytest.mark.parametrize("shots", ["clips", "frames"])
@pytest.mark.parametrize("shot", [1, 3])
def test_the_plain_form_and_its_gradients(shot: int, shots: str) -> None:
    generator = torch.Generator().manual_seed(shot)
    support, query = (
        torch.randn(count, 5, 4, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        for count in (3 * shot, 2)
    )
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    distances = build_head("bimhm", channels=5, frames=4, size=2, shots=shots)(support, query, shot=shot)
    plain = plain_bimhm(support, query, shot, shots)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    found, expected = (torch.autograd.grad((one * upstream).sum(), (support, query)) for one in (distances, plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_worked_by_hand() -> None:
    """Two frames by three: the least of each row and of each column."""
    table = torch.tensor([[1.0, 4, 3], [5, 2, 6]])
    assert mean_hausdorff(table).item() == (1 + 2) + (1 + 2 + 3)


def test_the_order_of_frames_makes_no_difference() -> None:
    head = build_head("bimhm", channels=5, frames=4, size=2)
    support, query = torch.rand(2, 3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head(support, query.flip(2)), head(support, query))


def test_an_unknown_way_to_use_shots_is_refused() -> None:
    with pytest.raises(InputError, match=r"shots='all' .* choose 'clips' or 'frames'"):
        build_head("bimhm", channels=2, frames=1, size=1, shots="all")

"""DCM: the published numbers, its plain form, by hand, and the behaviour of every head."""

from typing import Any

import pytest
import torch
from golden_files import Golden, check_training, close, distances_of, read_golden, same, state_of
from head_behaviour import HeadBehaviour
from plain_dcm import plain_dcm
from shared_data import needs_shared
from torch import nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.dcm import DCM, channel_distances


class TestDCM(HeadBehaviour):
    method = "dcm"
    frame_counts = (1, 2, 8)


class TestDCMByBiMHM(TestDCM):
    options = {"matrix": "bimhm"}  # noqa: RUF012
    trained = False


class TestDCMOfAllPairs(TestDCM):
    options = {"matrix": "ones"}  # noqa: RUF012
    trained = False


@pytest.fixture(params=["tsdcm_1shot", "tsdcm_5shot"])
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


def built(golden: Golden, **options: Any) -> DCM:
    channels, frames, size = golden["support"].shape[1:4]
    head = build_head("dcm", channels=channels, frames=frames, size=size, alpha=float(golden["alpha"]), **options)
    assert isinstance(head, DCM)
    if "matrix" not in options:
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
    support, query = (head.embed(golden[name], shot=shot) for name in ("support", "query"))
    close(support["frames"][:2, :2], golden["eval/support_representation"])
    close(query["frames"][:2, :2], golden["eval/query_representation"])
    close(head.frame_similarity(support, query, shot), golden["eval/frame_similarity"])
    close(head.matching_matrix(support, query), golden["eval/matching_matrix"])
    plain = built(golden, matrix="ones").compare(support, query, shot)
    close(plain, -golden["eval/frame_similarity"].sum((2, 3)))


@needs_shared
def test_the_golden_training(golden: Golden) -> None:
    head = built(golden)
    check_training(head, golden, {"generator.weight": head.generator.weight})


@pytest.mark.parametrize("matrix", ["learned", "bimhm", "ones"])
@pytest.mark.parametrize("shot", [1, 2])
def test_the_plain_form_and_its_gradients(shot: int, matrix: str) -> None:
    generator = torch.Generator().manual_seed(shot)
    head = build_head("dcm", channels=5, frames=3, size=2, alpha=0.7, matrix=matrix).double()
    support, query = (
        torch.randn(count, 5, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        for count in (3 * shot, 2)
    )
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=generator)
    upstream = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    distances = head(support, query, shot=shot)
    plain = plain_dcm(support, query, shot, 0.7, matrix, *head.parameters())
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *head.parameters())
    found, expected = (torch.autograd.grad((one * upstream).sum(), inputs) for one in (distances, plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_two_channels_by_hand() -> None:
    """One position: its token is itself, so the weight is 1; the squared distance is 4, and half of it counts."""
    found = channel_distances(torch.tensor([[1.0], [3]], dtype=torch.float64), 1.0)
    # [[e, 2 + e], [2 + e, e]] has means 1 + e everywhere: −1 on the diagonal, 1 beside it.
    assert found.tolist() == pytest.approx([-1, 1, -1])


def test_the_learned_matrix_looks_at_the_whole_episode_and_says_so() -> None:
    generator = torch.Generator().manual_seed(0)
    support, query = torch.rand(2, 3, 5, 4, 2, 2, generator=generator)
    head = build_head("dcm", channels=5, frames=4, size=2)
    assert not head.pairwise
    assert (head(support, query)[:, :1] - head(support[:1], query)).abs().max() > 1e-6
    assert build_head("dcm", channels=5, frames=4, size=2, matrix="ones").pairwise
    assert not build_head("dcm", channels=5, frames=4, size=2, project=3).pairwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha=0.0 is not above 0"),
        ({"matrix": "zeros"}, r"matrix='zeros' .* choose 'learned', 'bimhm', 'ones'"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_head("dcm", channels=2, frames=2, size=1, **options)


def test_weights_that_do_not_fit_are_named() -> None:
    head = build_head("dcm", channels=3, frames=2, size=1)
    assert isinstance(head, DCM)
    with pytest.raises(InputError, match=r"missing: generator.weight; unknown: generator.bias"):
        head.load_official_state_dict({"generator.bias": torch.zeros(4)})
    with pytest.raises(InputError, match=r"wrong shape: generator.weight is \(4, 2\) instead of \(4, 3\)"):
        head.load_official_state_dict({"generator.weight": torch.zeros(4, 2)})

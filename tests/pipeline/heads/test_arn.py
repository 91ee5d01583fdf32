"""ARN: pooling and losses by hand, the plain form, and the behaviour of every head."""

from math import exp, log

import pytest
import torch
from golden_files import close, read_golden
from head_behaviour import HeadBehaviour
from plain_arn import plain_arn
from shared_data import needs_shared
from torch.nn.functional import cross_entropy

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.arn import second_moments


class TestARN(HeadBehaviour):
    method = "arn"
    options = {"dropout": 0.0}  # noqa: RUF012
    frame_counts = (1, 2, 8)


def test_second_moments_worked_by_hand() -> None:
    """Positions (1, 0) and (1, 1): M = [[1, 1/2], [1/2, 1/2]], of trace 3/2; scaled features give the same."""
    features = torch.tensor([[[1.0, 1], [0, 1]]]).double()
    expected = [[2 / (1 + exp(-100 * m)) - 1 for m in row] for row in ((2 / 3, 1 / 3), (1 / 3, 1 / 3))]
    for scale in (1, 7):
        torch.testing.assert_close(second_moments(scale * features)[0], torch.tensor(expected).double())


@needs_shared
def test_the_golden_moments() -> None:
    """The pooling is the public code's; its attention and comparator are others, as the docs say."""
    golden = read_golden("arn_2shot")
    for side in ("support", "query"):
        features = (golden[side] * (1 + golden[f"eval/{side}_attention"]))[:2]
        close(second_moments(features.flatten(2)), golden[f"eval/{side}_moments"])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("shot", [1, 2])
def test_the_plain_form(shot: int, train: bool) -> None:
    generator = torch.Generator().manual_seed(shot)
    head = build_head("arn", channels=4, frames=2, size=3, dropout=0.0).double().train(train)
    for name, buffer in head.named_buffers():
        if "running" in name:
            buffer.add_(0.3 * torch.randn(buffer.shape, generator=generator, dtype=torch.float64).abs())
    support = torch.randn(2 * shot, 4, 2, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(3, 4, 2, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    weights = dict(head.named_parameters())
    state = {name: buffer.clone() for name, buffer in head.named_buffers()} | weights
    scores = torch.sigmoid(-head(support, query, shot=shot))
    plain = plain_arn(support, query, shot, state, train=train)
    torch.testing.assert_close(scores, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *weights.values())
    found = torch.autograd.grad((scores * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_order_of_frames_makes_no_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(2, 4, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    head = build_head("arn", channels=4, frames=3, size=2).double().eval()
    torch.testing.assert_close(head(support.flip(2), query), head(support, query), rtol=1e-10, atol=1e-10)


def test_losses_worked_by_hand() -> None:
    """Scores 3/4 and 1/2, of which the first is the query's class."""
    distances, labels = torch.tensor([[-log(3), 0], [-log(3), 0]]), torch.tensor([0, 0])
    own = build_head("arn", channels=2, frames=1, size=1).loss(distances, labels)
    assert own.item() == pytest.approx(2 * (1 / 16 + 1 / 4))
    episodic = build_head("arn", channels=2, frames=1, size=1, loss="episodic").loss(distances, labels)
    assert torch.equal(episodic, cross_entropy(-distances, labels, reduction="sum"))


def test_dropout_drops_in_training_only() -> None:
    head = build_head("arn", channels=5, frames=4, size=2)
    maps = torch.rand(2, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(head(maps, maps), head(maps, maps))
    assert torch.equal(head.eval()(maps, maps), head(maps, maps))


def test_what_it_cannot_be_built_with_is_refused() -> None:
    with pytest.raises(InputError, match=r"loss='bce' is not known to arn; choose 'own' or 'episodic'"):
        build_head("arn", channels=2, frames=1, size=1, loss="bce")
    with pytest.raises(InputError, match=r"dropout=1 is not a probability below 1"):
        build_head("arn", channels=2, frames=1, size=1, dropout=1)

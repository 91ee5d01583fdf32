"""TARN: the plain form, its scores and losses by hand, and the behaviour of every head."""

from math import log

import pytest
import torch
from head_behaviour import HeadBehaviour
from plain_tarn import plain_tarn
from torch.nn.functional import cross_entropy

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head


class TestTARN(HeadBehaviour):
    method = "tarn"
    options = {"dropout": 0.0}  # noqa: RUF012
    frame_counts = (1, 2, 8)


@pytest.mark.parametrize(("frames", "shot"), [(1, 1), (4, 1), (3, 2)])
def test_the_plain_form(frames: int, shot: int) -> None:
    """Also with a bias in the attention, which the paper has and which cancels."""
    generator = torch.Generator().manual_seed(frames)
    head = build_head("tarn", channels=4, frames=frames, size=2).double().eval()
    with torch.no_grad():
        head.get_parameter("attention.weight").mul_(20)  # far from an even attention
    support = torch.randn(2 * shot, 4, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 4, frames, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    bias = torch.randn(512, generator=generator, dtype=torch.float64)
    state = dict(head.named_parameters())
    scores = torch.sigmoid(-head(support, query, shot=shot))
    plain = plain_tarn(support, query, shot, state, bias)
    torch.testing.assert_close(scores, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *state.values())
    found = torch.autograd.grad((scores * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_score_of_a_class_is_the_mean_over_its_shots_however_sure_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(n, 4, 3, 2, 2, generator=generator, dtype=torch.float64) for n in (4, 2))
    head = build_head("tarn", channels=4, frames=3, size=2).double().eval()
    singly = torch.sigmoid(-head(support, query)).view(2, 2, 2)
    torch.testing.assert_close(torch.sigmoid(-head(support, query, shot=2)), singly.mean(2))
    with torch.no_grad():
        head.get_parameter("score.bias").fill_(800)
    torch.testing.assert_close(head(support, query, shot=2), torch.full((2, 2), -800.0).double(), rtol=1e-3, atol=0)


def test_clips_of_steps_that_agree_have_finite_gradients() -> None:
    """One frame: the aligned shot is the shot, and a query equal to it differs by nothing, where a root is steep."""
    maps = torch.rand(2, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    head = build_head("tarn", channels=4, frames=1, size=2).eval()
    head(maps, maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


def test_losses_worked_by_hand() -> None:
    """Scores 3/4 and 1/2, of which the first is the query's class."""
    distances, labels = torch.tensor([[-log(3), 0], [-log(3), 0]]), torch.tensor([0, 0])
    own = build_head("tarn", channels=2, frames=1, size=1).loss(distances, labels)
    assert own.item() == pytest.approx(-2 * (log(3 / 4) + log(1 / 2)))
    episodic = build_head("tarn", channels=2, frames=1, size=1, loss="episodic").loss(distances, labels)
    assert episodic.item() == pytest.approx(-2 * log(3 / 4))
    assert torch.equal(episodic, cross_entropy(-distances, labels, reduction="sum"))


def test_dropout_drops_in_training_only() -> None:
    head = build_head("tarn", channels=5, frames=4, size=2)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(head(maps, maps), head(maps, maps))
    assert torch.equal(head.eval()(maps, maps), head(maps, maps))


def test_what_it_cannot_be_built_with_is_refused() -> None:
    with pytest.raises(InputError, match=r"loss='mse' is not known to tarn; choose 'own' or 'episodic'"):
        build_head("tarn", channels=2, frames=1, size=1, loss="mse")
    with pytest.raises(InputError, match=r"dropout=-0.1 is not a probability below 1"):
        build_head("tarn", channels=2, frames=1, size=1, dropout=-0.1)

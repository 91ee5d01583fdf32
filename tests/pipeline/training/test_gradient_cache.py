"""Gradients of an episode in the memory of one clip: those of one backward through everything."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import HEADS, Head, build_head
from ta2n.pipeline.training.gradient_cache import episode_backward

WAY, QUERIES, FRAMES, SIDE = 2, 3, 4, 14
LABELS = torch.tensor([0, 1, 0])


class Backbone(nn.Module):
    """Convolutions with frozen batch norm and dropout, (B, 3, 14, 14) -> (B, 6, 7, 7); counts its passes."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1, stride=2),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(5, 6, 1),
            nn.ReLU(),
        )
        self.passes: list[tuple[int, bool]] = []
        self.train()

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        self.layers[1].eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        self.passes.append((len(frames), torch.is_grad_enabled()))
        maps: Tensor = self.layers(frames)
        return maps


def made(method: str, dropout: float = 0.3, **options: Any) -> tuple[Backbone, Head]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        backbone = Backbone(dropout).double()
        for parameter in backbone.parameters():
            nn.init.normal_(parameter, std=0.3)
    head = build_head(method, channels=6, frames=FRAMES, size=7, **options).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return backbone, head


def clips(shot: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shape = (FRAMES, 3, SIDE, SIDE)
    return (
        torch.randn((WAY * shot, *shape), generator=generator, dtype=torch.float64),
        torch.randn((QUERIES, *shape), generator=generator, dtype=torch.float64),
    )


def plainly(backbone: Backbone, head: Head, shot: int, at_once: int) -> tuple[Tensor, Tensor]:
    """One backward through everything."""
    support, query = clips(shot)
    every = torch.cat([support, query])
    parts = [torch.unflatten(backbone(part.flatten(0, 1)), 0, part.shape[:2]) for part in torch.split(every, at_once)]
    maps = torch.cat(parts).transpose(1, 2)
    embedded = head.embed_episode(maps[: len(support)], maps[len(support) :], shot)
    distances = head.compare(*embedded, shot)
    terms = head.losses(distances, LABELS, support=embedded[0], query=embedded[1])
    loss = torch.stack(list(terms.values())).sum()
    torch.autograd.backward(loss)
    return loss.detach(), distances.detach()


def gradients(*modules: nn.Module) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for number, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    }


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all((found[name] - expected[name]).abs().max() <= 1e-10 for name in expected)


@pytest.mark.parametrize("at_once", [1, 3, 100])
@pytest.mark.parametrize("shot", [1, 2])
@pytest.mark.parametrize("method", sorted(HEADS))
def test_they_are_those_of_one_backward_with_every_dropout_on(method: str, shot: int, at_once: int) -> None:
    backbone, head = made(method)
    other, other_head = copy.deepcopy(backbone), copy.deepcopy(head)
    torch.manual_seed(0)
    loss, distances = plainly(other, other_head, shot, at_once)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    found = episode_backward(backbone, head, *clips(shot), LABELS, shot, clips_at_once=at_once)
    assert torch.equal(torch.get_rng_state(), after)
    same(gradients(backbone, head), gradients(other, other_head))
    assert max(gradient.abs().max() for gradient in gradients(backbone).values()) > 1e-6
    torch.testing.assert_close(found.loss, loss, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.distances, distances, rtol=0, atol=1e-10)
    assert not found.loss.requires_grad
    assert not found.distances.requires_grad
    # A pass with gradients is never of more clips than asked for, and there are as many as clips.
    graded = [frames // FRAMES for frames, grad in backbone.passes if grad]
    assert max(graded) <= at_once
    assert sum(graded) == WAY * shot + QUERIES


def test_they_are_added_to_what_is_there() -> None:
    backbone, head = made("otam", dropout=0.0)
    episode_backward(backbone, head, *clips(1), LABELS)
    once = gradients(backbone)
    episode_backward(backbone, head, *clips(1), LABELS)
    same(gradients(backbone), {name: 2 * gradient for name, gradient in once.items()})


def test_all_clips_drawn_is_all_clips() -> None:
    exact, head = made("protonet", dropout=0.0)
    episode_backward(exact, head, *clips(1), LABELS)
    drawn, head = made("protonet", dropout=0.0)
    episode_backward(drawn, head, *clips(1), LABELS, grad_clips=5, generator=torch.Generator().manual_seed(1))
    same(gradients(drawn), gradients(exact))


@pytest.mark.parametrize("generator", [torch.Generator().manual_seed(3), np.random.default_rng(3)])
@pytest.mark.parametrize(("taken", "at_once"), [(1, 1), (2, 1), (3, 2)])
def test_some_of_the_clips_give_an_unbiased_gradient(taken: int, at_once: int, generator: Any) -> None:
    exact, head = made_still()
    episode_backward(exact, head, *clips(1), LABELS)
    expected, of_head = _flat(gradients(exact)), gradients(head)
    draws: list[Tensor] = []
    for _ in range(150):
        backbone, head = made_still()
        episode_backward(
            backbone, head, *clips(1), LABELS, clips_at_once=at_once, grad_clips=taken, generator=generator
        )
        same(gradients(head), of_head)  # the head's own is exact
        graded = [frames // FRAMES for frames, grad in backbone.passes if grad]
        assert sum(graded) == taken
        draws.append(_flat(gradients(backbone)))
    found = torch.stack(draws)
    error = found.std(0) / len(draws) ** 0.5
    assert ((found.mean(0) - expected).abs() <= 5 * error + 1e-10).all()
    assert error.max() > 1e-4  # they do vary


def made_still() -> tuple[Backbone, Head]:
    """Nothing random in backbone and head."""
    backbone, head = made("protonet", dropout=0.0)
    return backbone.eval(), head.eval()


def _flat(found: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in found.values()])


def test_random_layers_repeat_their_draws_for_some_of_the_clips_too() -> None:
    """What the backbone gives in step 3 is what the head saw in step 1."""
    backbone, head = made("protonet", dropout=0.5)
    seen: list[Tensor] = []
    backbone.register_forward_hook(lambda module, frames, maps: seen.append(maps.detach().clone()))
    episode_backward(backbone, head, *clips(1), LABELS, clips_at_once=2, grad_clips=3)
    first = [maps for maps, (_, grad) in zip(seen, backbone.passes, strict=True) if not grad]
    again = [maps for maps, (_, grad) in zip(seen, backbone.passes, strict=True) if grad]
    assert len(again) == 2
    for maps, expected in zip(again, first, strict=False):
        assert torch.equal(maps, expected)


def frozen(parameters: Sequence[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(False)


def test_a_frozen_backbone_is_passed_once_and_a_frozen_part_is_left_alone() -> None:
    backbone, head = made("trx")
    frozen(list(backbone.parameters()))
    episode_backward(backbone, head, *clips(1), LABELS)
    assert [grad for _, grad in backbone.passes] == [False] * 5
    assert any(parameter.grad is not None for parameter in head.parameters())
    part, head = made("trx", dropout=0.0)
    whole, other = made("trx", dropout=0.0)
    frozen(list(part.layers[0].parameters()))
    for network, its_head in ((part, head), (whole, other)):
        torch.manual_seed(0)
        episode_backward(network, its_head, *clips(1), LABELS)
    assert all(parameter.grad is None for parameter in part.layers[0].parameters())
    same(gradients(part.layers[4]), gradients(whole.layers[4]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips_at_once": 0}, "clips_at_once is 0, expected at least 1"),
        ({"grad_clips": 0}, "grad_clips is 0, expected 1 to 5"),
        ({"grad_clips": 6}, "grad_clips is 6, expected 1 to 5"),
    ],
)
def test_numbers_of_clips_that_are_out_of_range(changes: dict[str, Any], message: str) -> None:
    backbone, head = made("protonet")
    with pytest.raises(InputError, match=message):
        episode_backward(backbone, head, *clips(1), LABELS, **changes)


def test_batch_norm_that_couples_clips_is_refused() -> None:
    backbone, head = made("protonet")
    backbone.layers[1].train()
    with pytest.raises(InputError, match=r"the batch norm layers\.1 uses the statistics of its batch"):
        episode_backward(backbone, head, *clips(1), LABELS)
    backbone.layers[1] = nn.BatchNorm2d(5, track_running_stats=False).double().eval()
    with pytest.raises(InputError, match="clips are coupled"):
        episode_backward(backbone, head, *clips(1), LABELS)


def test_a_loss_that_is_not_finite_changes_no_gradient() -> None:
    backbone, head = made("trx")
    with torch.no_grad():
        next(head.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="training diverged: the loss of an episode is nan"):
        episode_backward(backbone, head, *clips(1), LABELS)
    assert all(parameter.grad is None for parameter in (*backbone.parameters(), *head.parameters()))

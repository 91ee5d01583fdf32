"""Batch norm with the statistics of each clip alone."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from ta2n.pipeline.features.fold import fold_batch_norm
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.training.finetune.batch_norm import ClipBatchNorm2d, hold_statistics, statistics_of_clips
from ta2n.pipeline.training.gradient_cache import episode_backward

FRAMES = 3


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        fixed = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        made = nn.Sequential(
            fixed, nn.Sequential(nn.Conv2d(4, 5, 1, bias=False), nn.BatchNorm2d(5, momentum=0.2), nn.ReLU())
        )
        for parameter in made.parameters():
            nn.init.normal_(parameter)
    fixed.requires_grad_(False)
    return made.double()


def frames(clips: int) -> Tensor:
    return torch.randn(clips * FRAMES, 3, 14, 14, generator=torch.Generator().manual_seed(clips), dtype=torch.float64)


def test_only_batch_norm_that_learns_is_another_and_it_is_of_each_clip() -> None:
    plain, other = network().eval(), network()
    statistics_of_clips(other, FRAMES)
    other.train()
    hold_statistics(other)
    images = frames(2)
    convolution, norm = (plain.get_submodule(f"1.{number}") for number in (0, 1))
    assert isinstance(norm, nn.BatchNorm2d)
    inner = convolution(plain[0](images))
    clips = [
        functional.batch_norm(part, None, None, norm.weight, norm.bias, True) for part in torch.split(inner, FRAMES)
    ]
    torch.testing.assert_close(other(images), torch.cat(clips).relu())
    assert {name for name, one in other.named_modules() if isinstance(one, ClipBatchNorm2d)} == {"1.1"}
    assert list(other.state_dict()) == list(plain.state_dict())


def test_running_averages_are_of_clips_that_pass_without_gradients() -> None:
    made = network()
    statistics_of_clips(made, FRAMES)
    convolution, norm = (made.get_submodule(f"1.{number}") for number in (0, 1))
    assert isinstance(norm.running_mean, Tensor)
    before = norm.running_mean.clone()
    made(frames(2))
    assert torch.equal(norm.running_mean, before)
    with torch.no_grad():
        inner = convolution(made[0].eval()(frames(2)))
        made(frames(2))
    expected = before
    for part in torch.split(inner, FRAMES):
        expected = 0.8 * expected + 0.2 * part.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected)


def test_gradients_of_an_episode_are_those_of_one_backward() -> None:
    made = network()
    statistics_of_clips(made, FRAMES)
    made.train()
    hold_statistics(made)
    other = copy.deepcopy(made)
    head = build_head("otam", channels=5, frames=FRAMES, size=7).double()
    labels = torch.tensor([0, 1])
    support, query = (torch.unflatten(frames(clips), 0, (clips, FRAMES)) for clips in (2, 2))
    for at_once in (1, 3):
        made.zero_grad()
        episode_backward(made, head, support, query, labels, clips_at_once=at_once)
        maps = [
            torch.unflatten(other(part.flatten(0, 1)), 0, part.shape[:2]).transpose(1, 2) for part in (support, query)
        ]
        other.zero_grad()
        torch.autograd.backward(head.loss(head(*maps), labels))
        for found, expected in zip(made[1].parameters(), other[1].parameters(), strict=True):
            assert found.grad is not None
            assert expected.grad is not None
            assert (found.grad - expected.grad).abs().max() <= 1e-10
            assert expected.grad.abs().max() > 1e-6


def test_it_is_folded_by_its_running_averages() -> None:
    made = network()
    statistics_of_clips(made, FRAMES)
    with torch.no_grad():
        made(frames(4))
    plain = network()
    plain.load_state_dict(made.state_dict())
    images = frames(2)
    with torch.no_grad():
        folded = fold_batch_norm(copy.deepcopy(made).eval())(images)
        torch.testing.assert_close(folded, plain.eval()(images))

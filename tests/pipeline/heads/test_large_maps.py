"""Heads on the maps of an earlier layer, which are 14×14."""

import pytest
import torch

from ta2n.pipeline.heads import HEADS, build_head


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_runs_and_learns_on_maps_of_fourteen(name: str) -> None:
    torch.manual_seed(0)
    head = build_head(name, channels=16, frames=4, size=14)
    support, query = torch.rand(2, 16, 4, 14, 14), torch.rand(3, 16, 4, 14, 14)
    distances = head(support, query, shot=1)
    assert distances.shape == (3, 2)
    assert torch.isfinite(distances).all()
    learning = [one for one in head.parameters() if one.requires_grad]
    if learning:
        distances.square().sum().backward()
        assert any(one.grad is not None and torch.isfinite(one.grad).all() for one in learning)

"""What a head costs, against counts made by hand."""

import sys

import pytest
import torch

from ta2n.pipeline.evaluation.costs import count_flops, count_macs, measure_costs, peak_bytes
from ta2n.pipeline.heads import HEADS, build_head

CPU = torch.device("cpu")


def test_products_counted_by_hand() -> None:
    # 4 clips of 3 frames: a projection 6 -> 2 at 9 places, then 2 queries against 2 classes in 2 channels.
    head = build_head("protonet", channels=6, frames=3, size=3, project=2)
    shape = torch.Size((2, 6, 3, 3, 3))
    assert count_macs(head, shape, shape, shot=1) == 4 * 3 * 9 * 6 * 2 + 2 * 2 * 2


def test_products_that_add_to_what_is_there_count_too() -> None:
    assert count_flops(lambda: torch.zeros(2, 5).addmm_(torch.ones(2, 3), torch.ones(3, 5))) == 2 * 2 * 3 * 5
    assert count_flops(lambda: torch.zeros(4, 2, 5).baddbmm_(torch.ones(4, 2, 3), torch.ones(4, 3, 5))) == 240


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_can_be_measured_and_stays_as_it_is(name: str) -> None:
    head = build_head(name, channels=8, frames=4, size=7).eval()
    before = {key: value.clone() for key, value in head.state_dict().items()}
    maps = torch.rand(8, 8, 4, 7, 7)
    costs = measure_costs(head, maps[:4], maps[4:], torch.tensor([0, 0, 1, 1]), shot=2, repeats=1)
    assert costs.parameters == sum(parameter.numel() for parameter in head.parameters())
    assert costs.macs > 0
    assert costs.train_ms > 0
    assert not head.training
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())
    assert all(parameter.grad is None for parameter in head.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start counting a process's peak memory anew")
def test_peak_memory_is_that_of_the_call_alone() -> None:
    held = torch.ones(20_000_000)
    found = peak_bytes(lambda: torch.ones(10_000_000).sum(), CPU)
    del held
    assert found is not None
    # 40 MB of its own, and nothing of the 80 MB that were held before.
    assert 30e6 < found < 75e6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_peak_memory_on_a_gpu() -> None:
    found = peak_bytes(lambda: torch.ones(10_000_000, device="cuda").sum(), torch.device("cuda"))
    assert found is not None
    assert 40e6 <= found < 60e6

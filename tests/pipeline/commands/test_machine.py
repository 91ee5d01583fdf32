"""Devices by name, and cores."""

import os

import pytest
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.commands.machine import cores, torch_device


def test_devices() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("abacus", "device 'abacus' is not a device; give auto"),
        ("meta", "device 'meta' is not supported"),
        ("cuda:99", "device cuda:99: this machine has .* use cpu"),
    ],
)
def test_what_is_no_device(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        torch_device(name)


def test_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)

"""What this machine has: a device by its name, and cores."""

from typing import TYPE_CHECKING

from ta2n.cache_schema.errors import InputError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> "torch.device":
    """The device meant by ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: the name is not a device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r} is not a device; give auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not supported; give auto, cpu, cuda or cuda:N")
    if device.type == "cpu" and device.index:
        raise InputError(f"device {name}: there is one CPU, whatever its cores; give cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu")
    return device


def cores() -> int:
    """Cores that this process may use; a container's limit counts."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)

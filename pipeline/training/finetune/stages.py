"""The stages of a backbone by name, and which of them learn.

A ResNet has ``stem``, ``layer1`` … ``layer4``; EfficientNet-Lite0 ``stem``, ``blocks0`` … ``blocks15`` (its inverted
residual blocks) and ``head`` (its last convolution). What learns is said as ``all``, as one stage (``layer4``), or as a
stage with all behind it (``layer3+``).
"""

from collections.abc import Mapping
from itertools import chain

from torch import Tensor, nn
from torch.nn import functional

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.backbones import Backbone
from ta2n.pipeline.features.efficientnet_lite import EfficientNetLite0

_STEM = 4
"""Children of a ResNet before ``layer1``: convolution, batch norm, ReLU, pooling."""
_TUNED_BLOCKS = 4


class _Convolved(nn.Module):
    """A convolution of EfficientNet-Lite0 with what follows it: batch norm and ReLU6."""

    def __init__(self, convolution: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu6(self.norm(self.convolution(maps)), inplace=True)


def stages_of(backbone: Backbone) -> dict[str, nn.Module]:
    """The stages of a backbone, in order: one after the other they are the backbone, and share its parameters.

    A backbone that is not known here is a sequence of its children, or one stage called ``network``.
    """
    module = backbone.module
    if isinstance(module, EfficientNetLite0):
        blocks = {f"blocks{number}": block for number, block in enumerate(module.blocks)}
        stem, head = _Convolved(module.conv_stem, module.bn0), _Convolved(module.conv_head, module.bn1)
        return {"stem": stem, **blocks, "head": head}
    if not isinstance(module, nn.Sequential):
        return {"network": module}
    if backbone.spec.name.startswith("resnet"):
        layers = {f"layer{number}": layer for number, layer in enumerate(module[_STEM:], start=1)}
        return {"stem": module[:_STEM], **layers}
    return dict(module.named_children())


def usual(backbone: Backbone) -> str:
    """What learns where nobody says: the last stage; of EfficientNet-Lite0 the last four blocks and its head."""
    names = list(stages_of(backbone))
    return f"{names[-1 - _TUNED_BLOCKS]}+" if isinstance(backbone.module, EfficientNetLite0) else names[-1]


def chosen(backbone: Backbone, text: str) -> list[str]:
    """The names of the stages that learn.

    Args:
        backbone: it.
        text: ``all``, a stage, or a stage with ``+`` behind it.

    Raises:
        InputError: there is no such stage; the message has those that there are.
    """
    names = list(stages_of(backbone))
    stage = text.removesuffix("+")
    if text == "all":
        return names
    if stage not in names:
        raise InputError(
            f"--trainable {text!r}: {backbone.spec.name} has no such stage; give all, one of {', '.join(names)}, or "
            f"one of them and all behind it, as {usual(backbone).removesuffix('+')}+"
        )
    start = names.index(stage)
    return names[start:] if text.endswith("+") else [stage]


def trainable_parameters(backbone: Backbone, text: str) -> list[nn.Parameter]:
    """Makes part of a backbone learn, and freezes the rest.

    Args:
        backbone: it; ``requires_grad`` of its parameters is set.
        text: which part, see :func:`chosen`.

    Returns:
        The parameters that learn.

    Raises:
        InputError: there is no such stage.
    """
    names = set(chosen(backbone, text))
    backbone.module.requires_grad_(False)
    learning = [stage for name, stage in stages_of(backbone).items() if name in names]
    parameters = list(chain.from_iterable(stage.parameters() for stage in learning))
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def split(stages: Mapping[str, nn.Module]) -> tuple[nn.Sequential, nn.Sequential]:
    """The stages before the first that learns, and from there on; the first part may be empty."""
    learns = [any(one.requires_grad for one in stage.parameters()) for stage in stages.values()]
    first = learns.index(True) if True in learns else len(learns)
    parts = list(stages.values())
    return nn.Sequential(*parts[:first]), nn.Sequential(*parts[first:])

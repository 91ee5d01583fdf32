"""The layers behind a stored one: what is trained on cached maps without any decoding, and how the two go together."""

import copy

from torch import nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.backbones import trained_network
from ta2n.pipeline.features.networks import network_of, require_layer
from ta2n.pipeline.features.plan import BackboneSpec


def require_rest(spec: BackboneSpec) -> None:
    """Refuses a spec whose layer is the last of its network.

    Raises:
        InputError: lists the layers that something is behind.
    """
    require_layer(spec.name, spec.layer)
    earlier = [layer for layer in network_of(spec.name).layers if layer != network_of(spec.name).last]
    if spec.layer not in earlier:
        raise InputError(
            f"{spec.layer} is the last layer of {spec.name}, so nothing behind it can be trained on cached maps; "
            f"extract with --layer {earlier[-1]} (or another of {', '.join(earlier)}) into another --cache folder"
        )


def rest_of(spec: BackboneSpec) -> nn.Module:
    """The layers behind the one that a spec stores, with their weights, as they can be trained.

    Args:
        spec: of the stored maps; its weights are read again and compared with its hash.

    Returns:
        (B, C, H, W) maps of ``spec.layer`` to those of the network's last layer: batch norm in place, in evaluation
        mode. Its tensors have the names that they have in the whole network.

    Raises:
        InputError: nothing is behind the layer, or the weights are others than the spec's.
        MissingError: the weights are not there.
    """
    require_rest(spec)
    network = network_of(spec.name)
    return network.part(trained_network(spec), spec.layer, network.last).eval()


def joined(spec: BackboneSpec, rest: nn.Module) -> nn.Module:
    """The whole network of a spec, with the weights that the layers behind the stored one have now.

    Args:
        spec: of the stored maps.
        rest: what :func:`rest_of` gave, trained since; it is left as it is.

    Raises:
        InputError: ``rest`` is not of this network, or the weights before it are others than the spec's.
        MissingError: the weights before it are not there.
    """
    require_rest(spec)
    whole = trained_network(spec)
    behind = network_of(spec.name).part(whole, spec.layer, network_of(spec.name).last)
    if behind.state_dict().keys() != rest.state_dict().keys():
        raise InputError(f"the layers to join are not those behind {spec.layer} of {spec.name}")
    behind.load_state_dict(copy.deepcopy(rest.state_dict()))
    return whole.eval()

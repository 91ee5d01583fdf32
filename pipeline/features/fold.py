"""Folding batch-norm into the convolution before it: the same network with half the passes over memory."""

import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Folds every batch-norm that directly follows a convolution among a module's children, in place.

    Exact in real arithmetic; in float32 features agree to about 1e-6 of their size. For frozen networks in evaluation
    mode whose forward calls children in the order in which they are registered, as torchvision's ResNets and our
    EfficientNet-Lite0 do.

    Args:
        network: the network, changed and returned.
    """
    for module in list(network.modules()):
        children = list(module.named_children())
        for (_, conv), (name, norm) in itertools.pairwise(children):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                continue
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
            )
            setattr(module, name, nn.Identity())
    return network

"""The layers behind a stored one, tuned on cached maps: the same exact gradients, from maps instead of frames."""

import torch

from ta2n.pipeline.features.backbones import load_backbone
from ta2n.pipeline.features.rest import rest_of
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.training.gradient_cache import episode_backward


def test_the_rest_has_the_gradients_of_plain_autograd_on_stored_maps() -> None:
    torch.manual_seed(0)
    rest = rest_of(load_backbone("resnet18", "random", layer="layer3").spec).double()
    head = build_head("otam", channels=512, frames=2, size=7).double()
    stored = torch.rand(5, 2, 256, 14, 14, dtype=torch.float64)
    labels = torch.tensor([0, 1, 1])
    episode_backward(rest, head, stored[:2], stored[2:], labels)
    found = [parameter.grad for parameter in rest.parameters()]
    rest.zero_grad()

    maps = rest(stored.flatten(0, 1)).unflatten(0, (5, 2)).transpose(1, 2)
    support, query = head.embed_episode(maps[:2], maps[2:], 1)
    terms = head.losses(head.compare(support, query, 1), labels, support=support, query=query)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    for one, parameter in zip(found, rest.parameters(), strict=True):
        assert one is not None
        assert parameter.grad is not None
        torch.testing.assert_close(one, parameter.grad, rtol=0, atol=1e-10 * max(1.0, float(one.abs().max())))

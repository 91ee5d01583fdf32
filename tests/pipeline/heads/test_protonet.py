"""ProtoNet: worked by hand, against the plain form, and the behaviour of every head."""

import pytest
import torch
from head_behaviour import HeadBehaviour, NearestToItself
from plain_protonet import plain_protonet

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.interface import ClipEmbedder


class TestProtoNet(HeadBehaviour, NearestToItself):
    method = "protonet"
    trained = False
    frame_counts = (1, 2, 8)


class TestProtoNetEuclidean(TestProtoNet):
    options = {"metric": "euclidean"}  # noqa: RUF012


def test_worked_by_hand() -> None:
    """Prototypes (1, 0) and, as the mean of (0, 2) and (0, 4), (0, 3); the query is (3, 4)."""
    support = torch.tensor([[1.0, 0], [1, 0], [0, 2], [0, 4]])[:, :, None, None, None]
    query = torch.tensor([[3.0, 4]])[:, :, None, None, None]
    cosine = build_head("protonet", channels=2, frames=1, size=1)
    torch.testing.assert_close(cosine(support, query, shot=2), torch.tensor([[1 - 0.6, 1 - 0.8]]))
    euclidean = build_head("protonet", channels=2, frames=1, size=1, metric="euclidean")
    assert euclidean(support, query, shot=2).tolist() == [[20, 10]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("shot", [1, 3])
def test_the_plain_form(metric: str, shot: int) -> None:
    generator = torch.Generator().manual_seed(shot)
    support = torch.randn(4 * shot, 5, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(6, 5, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    distances = build_head("protonet", channels=5, frames=3, size=2, metric=metric)(support, query, shot=shot)
    plain = plain_protonet(support, query, shot, metric)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    found = torch.autograd.grad((distances * weights).sum(), (support, query))
    expected = torch.autograd.grad((plain * weights).sum(), (support, query))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match=r"metric='manhattan' .* choose 'cosine' or 'euclidean'"):
        build_head("protonet", channels=2, frames=1, size=1, metric="manhattan")


@pytest.mark.parametrize("project", [None, 3])
def test_it_embeds_a_clip_on_its_own(project: int | None) -> None:
    head = build_head("protonet", channels=5, frames=4, size=2, project=project)
    assert isinstance(head, ClipEmbedder)
    maps = torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert head.clip_channels == (project or 5)
    assert head.embed_clip(maps).shape == (3, project or 5)

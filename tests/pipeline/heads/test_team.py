"""TEAM: the golden files, the plain form, and the behaviour of every head."""

import pytest
import torch
from golden_heads import (
    Golden,
    check_distances,
    check_gradients,
    close,
    episode_gradients,
    published_state,
    read_golden,
)
from head_behaviour import HeadBehaviour
from plain_team import plain_team
from shared_data import needs_shared

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.team import PUBLISHED, TEAM, largest_of_others


class TestTEAM(HeadBehaviour):
    method = "team"
    options = {"tokens": 3, "dropout": 0.0}  # noqa: RUF012
    frame_counts = (1, 2, 8)

    def test_the_terms_of_its_loss_have_the_episodic_one_and_reach_the_weights(self) -> None:
        """The episodic one is of one part of the distances alone."""
        head = self.build().train()
        assert isinstance(head, TEAM)
        labels = torch.tensor([0, 1, 0])
        for shot in (1, 2):
            support, query = self.maps(2 * shot, 2), self.maps(3, 3)
            both = head.embed_episode(support, query, shot)
            distances = head.compare(*both, shot)
            terms = head.losses(distances, labels, support=both[0], query=both[1])
            plus, minus = head.both_distances(*both)
            self.same(plus + minus, distances)
            assert terms == {"episodic": head.loss(plus, labels), "minus": head.loss(minus, labels)}
            apart = {"support": head.embed(support, shot=shot), "query": head.embed(query, shot=shot)}
            again = head.losses(distances, labels, support=apart["support"], query=apart["query"])
            for name, term in terms.items():
                torch.testing.assert_close(again[name], term)
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in head.parameters())


@pytest.fixture(params=["team_1shot", "team_5shot"])
def case(request: pytest.FixtureRequest) -> tuple[Golden, TEAM]:
    golden = read_golden(request.param)
    head = build_head("team", channels=32, frames=8, size=2, tokens=int(golden["tokens"]), dropout=0.0)
    assert isinstance(head, TEAM)
    head.load_official_state_dict(published_state(golden))
    return golden, head.eval()


@needs_shared
def test_the_golden_distances(case: tuple[Golden, TEAM]) -> None:
    golden, head = case
    check_distances(head, golden)


@needs_shared
def test_the_golden_steps(case: tuple[Golden, TEAM]) -> None:
    golden, head = case
    shot = int(golden["shot"])
    query = head.embed(golden["query"], shot=1)
    close(query["gathered"], golden["eval/query_gathered"])
    close(query["plus"], golden["eval/query_plus"])
    close(query["minus"], golden["eval/query_minus"])
    support = head.embed(golden["support"], shot=shot)
    classes = head.classes(support, 5)
    close(classes["adapted_plus"], golden["eval/support_plus_adapted"])
    close(classes["adapted_minus"], golden["eval/support_minus_adapted"])
    plus, minus = head.both_distances(classes, query)
    close(plus, golden["eval/distances_plus"])
    close(minus, golden["eval/distances_minus"])
    close(head.code.float(), golden["eval/position_code"])


@needs_shared
def test_the_golden_gradients(case: tuple[Golden, TEAM]) -> None:
    golden, head = case
    terms, grads = episode_gradients(head, golden, PUBLISHED)
    close(terms["episodic"], golden["train/loss_plus"])
    close(terms["minus"], golden["train/loss_minus"])
    check_gradients(grads, golden)


@pytest.mark.parametrize(("way", "shot"), [(2, 1), (3, 2)])
def test_the_plain_form(way: int, shot: int) -> None:
    generator = torch.Generator().manual_seed(way)
    head = build_head("team", channels=6, frames=3, size=2, tokens=4, dropout=0.0).double()
    assert isinstance(head, TEAM)
    support = torch.randn(way * shot, 6, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 6, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, way, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for weight in head.parameters():
            weight.normal_(generator=generator)
    distances = head(support, query, shot=shot)
    plain = torch.stack(plain_team(support, query, shot, dict(head.named_parameters()))).sum(0)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    inputs = (support, query, *head.parameters())
    found = torch.autograd.grad((distances * upstream).sum(), inputs)
    expected = torch.autograd.grad((plain * upstream).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_the_largest_of_the_others() -> None:
    found = largest_of_others(torch.tensor([[1.0, 5, 3], [2, 0, 1]]))
    assert found.tolist() == [[5, 3, 5], [1, 2, 2]]


def test_a_class_alone_is_not_adapted() -> None:
    head = build_head("team", channels=4, frames=2, size=1, tokens=3).eval()
    assert isinstance(head, TEAM)
    maps = torch.rand(1, 4, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    assert head(maps, maps).abs().item() < 1e-5


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="tokens=0 is not a number of tokens"):
        build_head("team", channels=4, frames=2, size=1, tokens=0)
    head = build_head("team", channels=4, frames=2, size=1, tokens=3)
    assert isinstance(head, TEAM)
    with pytest.raises(InputError, match=r"DPM.AP is \(2, 4\) instead of \(3, 4\); DPM.ln.weight is missing"):
        head.load_official_state_dict({"DPM.AP": torch.zeros(2, 4)})

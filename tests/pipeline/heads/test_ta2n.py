"""TA2N in its factorised form: against the plain form, its start, its options, published names."""

from itertools import product
from typing import Any

import pytest
import torch
from head_behaviour import HeadBehaviour
from plain_ta2n import plain_ta2n
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.ta2n import TA2N

SWITCHES = [{"ttm": ttm, "tc": tc, "sc": sc} for ttm, tc, sc in product((False, True), repeat=3)]


class TestTA2N(HeadBehaviour):
    method = "ta2n"
    options = {"dropout": 0.0}  # noqa: RUF012


class TestWithoutSC(HeadBehaviour):
    method = "ta2n"
    options = {"dropout": 0.0, "sc": False}  # noqa: RUF012


class TestTCOnly(HeadBehaviour):
    """The stages without poolings take any clip."""

    method = "ta2n"
    options = {"dropout": 0.0, "ttm": False, "sc": False}  # noqa: RUF012
    size = 2
    frame_counts = (1, 2, 5)


def ta2n(channels: int = 5, frames: int = 4, size: int = 4, **options: Any) -> TA2N:
    head = build_head("ta2n", channels=channels, frames=frames, size=size, **options)
    assert isinstance(head, TA2N)
    return head


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def scattered(head: TA2N, generator: torch.Generator) -> TA2N:
    """The head in float64 with weights and statistics far from their start."""
    head = head.double()
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.15 * normal(*weight.shape, generator=generator))
        for name, buffer in head.named_buffers():
            if "running" in name:
                buffer.add_(0.3 * normal(*buffer.shape, generator=generator).abs())
    return head


@pytest.mark.parametrize("case", range(8))
@pytest.mark.parametrize("train", [False, True])
def test_the_plain_form(case: int, train: bool) -> None:
    """Distances and every gradient, to 1e-10, at random sizes."""
    generator = torch.Generator().manual_seed(case)
    C, T, S, N, K, Q = (
        int(torch.randint(low, high, (), generator=generator))
        for low, high in ((2, 6), (4, 6), (4, 8), (1, 3), (1, 3), (2, 3))
    )
    perturbation = (0.2, 0.0)[case % 2]
    head = scattered(ta2n(C, T, S, dropout=0.0, perturbation=perturbation, **SWITCHES[case]), generator).train(train)
    support, query = normal(N * K, C, T, S, S, generator=generator), normal(Q, C, T, S, S, generator=generator)
    clips = [support.requires_grad_(), query.requires_grad_()]
    weights = dict(head.named_parameters())
    state = weights | {name: buffer.clone() for name, buffer in head.named_buffers()}
    plain = plain_ta2n(support, query, K, state, train=train, perturbation=perturbation, **SWITCHES[case]).distances
    distances = head(support, query, shot=K)
    torch.testing.assert_close(distances, plain, rtol=1e-10, atol=1e-10)
    share = normal(Q, N, generator=generator)
    wanted = [*clips, *weights.values()]
    found = torch.autograd.grad((distances * share).sum(), wanted, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad((plain * share).sum(), wanted, allow_unused=True, materialize_grads=True)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shot", [1, 5])
def test_the_untrained_head_compares_frames_hardly_warped(shot: int) -> None:
    """Identity init: masks around offset 0, nothing added by TC, and one shot untouched by the value map."""
    generator = torch.Generator().manual_seed(0)
    head = ta2n(frames=8, size=7, perturbation=0.0).double().eval()
    support, query = normal(2 * shot, 5, 8, 7, 7, generator=generator), normal(3, 5, 8, 7, 7, generator=generator)
    prototypes, queries = head.prototypes(head.embed(support, shot=shot), shot), head.embed(query, shot=shot)
    pairs = head.pairs(prototypes, queries)
    assert pairs.offsets is not None
    assert not pairs.offsets.any()
    s, q = head.aligned(prototypes, queries, pairs, shot)
    torch.testing.assert_close(s, head.warped(prototypes).mean((2, 3))[:, None].expand_as(s))
    torch.testing.assert_close(q, head.warped(queries).mean((2, 3)).expand_as(q))
    theta = torch.tensor([[2.0, 0.0]], dtype=torch.float64).tanh().expand(3, 2)
    torch.testing.assert_close(head.theta(query), theta)


def test_random_init_leaves_the_value_maps_alone() -> None:
    head = ta2n(init="random")
    assert head.valuenet_multi.weight.count_nonzero() == 25
    assert head.secondstage.get_parameter("valuenet.weight").count_nonzero() == 25


def test_dropout_acts_in_training_only() -> None:
    maps = torch.rand(3, 5, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    head = ta2n(dropout=0.5, ttm=False)
    kept = head.eval().embed(maps, shot=1)["maps"]
    assert torch.equal(kept, maps.permute(0, 2, 3, 4, 1))
    torch.manual_seed(0)
    dropped = head.train().embed(maps, shot=1)["maps"]
    share = (dropped == 0).double().mean()
    assert 0.4 < share < 0.6
    torch.testing.assert_close(dropped[dropped != 0], 2 * kept[dropped != 0])


def test_an_embedding_for_one_shot_is_refused_for_five() -> None:
    head = ta2n().eval()
    embedding = head.embed(torch.rand(5, 5, 4, 4, 4), shot=1)
    with pytest.raises(InputError, match=r"not made for 5 shots; call embed\(maps, shot=5\)"):
        head.compare(embedding, embedding, shot=5)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"perturbation": 1.5}, "perturbation=1.5 is not"),
        ({"dropout": 1.0}, "dropout=1.0 is not"),
        ({"init": "zero"}, "init='zero' .* choose 'identity' or 'random'"),
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ta2n(**option)


@pytest.mark.parametrize("prefix", ["", "align."])
def test_published_names_load(prefix: str) -> None:
    """Without counters of batches, and with a backbone beside a prefixed head."""
    source, head = ta2n(seed=1), ta2n(seed=2)
    state = {prefix + k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    if prefix:
        state["backbone.conv1.weight"] = torch.zeros(1)
    head.load_official_state_dict(state)
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in head.state_dict().items())


def test_stages_switched_off_may_be_left_over() -> None:
    source, head = ta2n(seed=1), ta2n(seed=2, sc=False, ttm=False)
    head.load_official_state_dict(source.state_dict())
    assert torch.equal(head.keynet_multi.weight, source.keynet_multi.weight)


def test_a_state_dict_that_does_not_fit_is_refused_with_every_name() -> None:
    head = ta2n()
    state = dict(head.state_dict())
    del state["firststage.locnet.0.bias"]
    state["secondstage.mvnet.99.weight"] = torch.zeros(1)
    state["fc.weight"] = torch.zeros(1)
    state["keynet_multi.weight"] = torch.zeros(7, 7, 1)
    before = {k: v.clone() for k, v in head.state_dict().items()}
    message = (
        r"missing: firststage\.locnet\.0\.bias; unknown: secondstage\.mvnet\.99\.weight, fc\.weight; "
        r"wrong shape: keynet_multi\.weight is \(7, 7, 1\) instead of \(5, 5, 1\)"
    )
    with pytest.raises(InputError, match=message):
        head.load_official_state_dict(state)
    assert all(torch.equal(v, before[k]) for k, v in head.state_dict().items())


def test_an_embedding_keeps_the_maps_in_the_precision_of_the_cache() -> None:
    """They are most of its size; nothing is lost, because every computation widens them first."""
    maps = torch.rand(3, 5, 4, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    head = ta2n().eval()
    assert head.embed(maps, shot=1)["maps"].dtype == torch.float16
    torch.testing.assert_close(head(maps, maps, shot=3), head(maps.float(), maps.float(), shot=3), rtol=0, atol=0)


@pytest.mark.parametrize("shot", [1, 2])
def test_a_training_step_keeps_no_wide_copy_of_cached_maps(shot: int) -> None:
    """Of tensors as large as the maps, what is saved for the way back is the cached ones after dropout, in float16."""
    head = ta2n(channels=48, frames=4, size=7, dropout=0.5).train()
    support, query = torch.rand(2 * shot, 48, 4, 7, 7).half(), torch.rand(4, 48, 4, 7, 7).half()
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        distances = head(support, query, shot=shot)
    distances.sum().backward()
    large = [t for t in saved.values() if t.shape[-1] == 48 and t.numel() >= support.numel()]
    weights = {weight.untyped_storage().data_ptr() for weight in head.parameters()}
    assert {t.dtype for t in large if t.untyped_storage().data_ptr() not in weights} == {torch.float16}


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_leaving_out_what_no_pooling_looks_at_changes_nothing(size: int) -> None:
    """In evaluation; the plain form has every row and column."""
    generator = torch.Generator().manual_seed(size)
    head = scattered(ta2n(3, 4, size), generator).eval()
    support, query = normal(2, 3, 4, size, size, generator=generator), normal(3, 3, 4, size, size, generator=generator)
    expected = plain_ta2n(support, query, 1, dict(head.state_dict())).distances
    torch.testing.assert_close(head(support, query), expected, rtol=1e-10, atol=1e-10)

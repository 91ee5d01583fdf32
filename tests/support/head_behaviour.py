"""What every head must do, run once per head.

A head's test file needs no more than::

    class TestMyHead(HeadBehaviour):
        method = "myhead"
        options = {"dropout": 0.0}

``options`` must leave nothing to chance in training mode, and ``channels``, ``frames`` and ``size`` may be set where
the method needs other sizes. ``frame_counts`` lists the T it is tried with; ``trained`` is False for a head without
weights. Distances are compared in float64 unless a test says otherwise. A method whose distance of a clip to itself is
the least there is also subclasses ``NearestToItself``.
"""

from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import HEADS, Embedding, Head, build_head

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def rows(embedding: Embedding, index: list[int]) -> Embedding:
    return {name: tensor[index] for name, tensor in embedding.items()}


class HeadBehaviour:
    method: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    channels: ClassVar[int] = 6
    frames: ClassVar[int] = 4
    size: ClassVar[int] = 4
    frame_counts: ClassVar[tuple[int, ...]] = (4, 5, 8)
    trained: ClassVar[bool] = True

    def build(self, **changes: Any) -> Head:
        """The head in eval mode, its weights moved away from special initial values."""
        sizes = {"channels": self.channels, "frames": self.frames, "size": self.size}
        head = build_head(self.method, **{**sizes, **self.options, **changes}).double().eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in head.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
        return head

    def maps(self, videos: int, seed: int, frames: int | None = None) -> Tensor:
        """Feature maps like those after a ReLU: some zeros, nothing negative."""
        shape = (videos, self.channels, frames or self.frames, self.size, self.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu()

    def same(self, found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)

    def test_it_is_found_by_name(self) -> None:
        assert self.method in HEADS

    @pytest.mark.parametrize(("way", "shot", "queries"), [(1, 1, 1), (2, 1, 3), (3, 2, 2), (2, 5, 1)])
    def test_distances_are_queries_by_classes(self, way: int, shot: int, queries: int) -> None:
        for training in (False, True):
            head = self.build().train(training)
            if training and queries * way < 2:
                continue  # one pair has no batch statistics
            distances = head(self.maps(way * shot, 2), self.maps(queries, 3), shot=shot)
            assert distances.shape == (queries, way)
            assert distances.isfinite().all()

    def test_every_number_of_frames(self) -> None:
        for frames in self.frame_counts:
            distances = self.build(frames=frames)(self.maps(2, 2, frames), self.maps(3, 3, frames))
            assert distances.shape == (3, 2)

    @pytest.mark.parametrize("shot", [1, 2])
    @pytest.mark.parametrize("training", [False, True])
    def test_classes_permute_columns_and_queries_permute_rows(self, shot: int, training: bool) -> None:
        head = self.build().train(training)
        support, query = self.maps(3 * shot, 2), self.maps(3, 3)
        distances = head(support, query, shot=shot)
        moved = support.reshape(3, shot, *support.shape[1:])[[2, 0, 1]].flatten(0, 1)
        self.same(head(moved, query, shot=shot), distances[:, [2, 0, 1]])
        self.same(head(support, query[[1, 2, 0]], shot=shot), distances[[1, 2, 0]])

    @pytest.mark.parametrize("shot", [1, 3])
    def test_embedding_and_comparing_is_the_forward_pass(self, shot: int) -> None:
        """Whichever videos were embedded together."""
        head = self.build()
        support, query = self.maps(2 * shot, 2), self.maps(3, 3)
        distances = head(support, query, shot=shot)
        videos = head.embed(torch.cat([query, support]), shot=shot)
        assert all(len(tensor) == 3 + 2 * shot for tensor in videos.values())
        s, q = rows(videos, list(range(3, 3 + 2 * shot))), rows(videos, [0, 1, 2])
        self.same(head.compare(s, q, shot=shot), distances)
        self.same(head.compare(*head.embed_episode(support, query, shot), shot), distances)

    def test_the_terms_of_its_loss_have_the_episodic_one_and_reach_the_weights(self) -> None:
        head = self.build().train()
        labels = torch.tensor([0, 1, 0])
        support, query = head.embed_episode(self.maps(2, 2), self.maps(3, 3), 1)
        distances = head.compare(support, query, 1)
        classes = {"support_classes": torch.tensor([4, 2]), "query_classes": torch.tensor([4, 2, 4])}
        terms = head.losses(distances, labels, support=support, query=query, **classes)
        assert torch.equal(terms["episodic"], head.loss(distances, labels))
        assert all(term.shape == () and term.dtype == torch.float32 for term in terms.values())
        if self.trained:
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in head.parameters())

    @pytest.mark.parametrize("shot", [1, 2])
    def test_a_distance_depends_on_its_own_class_and_query_only(self, shot: int) -> None:
        head = self.build()
        if not head.pairwise:
            pytest.skip("the distances of this head look at the whole episode, as it says")
        support, query = self.maps(3 * shot, 2), self.maps(2, 3)
        distances = head(support, query, shot=shot)
        self.same(head(support[shot : 2 * shot], query, shot=shot), distances[:, 1:2])
        self.same(head(support, query[1:], shot=shot), distances[1:])

    def test_gradients_reach_every_weight_and_are_finite(self) -> None:
        head = self.build().train()
        weights = dict(head.named_parameters())
        assert bool(weights) == self.trained
        for shot in (1, 2) if self.trained else ():
            head(self.maps(2 * shot, 2), self.maps(3, 3), shot=shot).square().sum().backward()
        assert [name for name, weight in weights.items() if weight.grad is None] == []
        assert all(weight.grad.isfinite().all() for weight in weights.values() if weight.grad is not None)

    def test_the_untrained_head_is_finite_on_empty_maps(self) -> None:
        sizes = {"channels": self.channels, "frames": self.frames, "size": self.size}
        head = build_head(self.method, **{**sizes, **self.options}).double().train()
        support, query = torch.zeros_like(self.maps(2, 2)), self.maps(3, 3)
        distances = head(support, query)
        assert distances.isfinite().all()
        if self.trained:
            distances.sum().backward()
            grads = [weight.grad for weight in head.parameters() if weight.grad is not None]
            assert all(grad.isfinite().all() for grad in grads)

    def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(self) -> None:
        sizes = {"channels": self.channels, "frames": self.frames, "size": self.size}
        before = torch.get_rng_state()
        first, again, other = (build_head(self.method, **{**sizes, **self.options}, seed=s) for s in (3, 3, 4))
        assert torch.equal(torch.get_rng_state(), before)
        for name, weight in first.state_dict().items():
            assert torch.equal(weight, again.state_dict()[name])
        pairs = zip(first.parameters(), other.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs) == self.trained

    def test_half_precision_maps_are_taken_as_they_are_cached(self) -> None:
        head = self.build().float()
        support, query = self.maps(2, 2).half(), self.maps(3, 3).half()
        distances = head(support, query)
        assert distances.dtype == torch.float32
        torch.testing.assert_close(distances, head(support.float(), query.float()))

    def test_automatic_mixed_precision(self) -> None:
        head = self.build().float()
        support, query = self.maps(2, 2).float(), self.maps(3, 3).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = head(support, query)
        torch.testing.assert_close(mixed.float(), head(support, query), rtol=0.1, atol=0.1)

    def test_the_meta_device_gives_shapes(self) -> None:
        head = self.build().to("meta")
        assert head(self.maps(4, 2).to("meta"), self.maps(3, 3).to("meta"), shot=2).shape == (3, 2)

    @needs_cuda
    def test_cuda_agrees(self) -> None:
        head = self.build()
        support, query = self.maps(4, 2), self.maps(3, 3)
        expected = head(support, query, shot=2)
        self.same(head.cuda()(support.cuda(), query.cuda(), shot=2).cpu(), expected)

    def test_weights_travel_through_safetensors(self) -> None:
        head, other = self.build(), self.build(seed=5)
        other.load_state_dict(load(save(head.state_dict())))
        support, query = self.maps(4, 2), self.maps(3, 3)
        assert torch.equal(other(support, query, shot=2), head(support, query, shot=2))

    def test_a_projection_in_front(self) -> None:
        head = self.build(project=4)
        distances = head(self.maps(4, 2), self.maps(3, 3), shot=2)
        assert distances.shape == (3, 2)
        self.same(
            head.compare(head.embed(self.maps(4, 2), shot=2), head.embed(self.maps(3, 3), shot=2), shot=2), distances
        )
        distances.sum().backward()
        assert head.get_parameter("projection.weight").grad is not None

    def test_maps_of_another_shape_are_refused(self) -> None:
        for wrong in (self.maps(2, 2)[:, 1:], self.maps(2, 2)[:, :, 1:], self.maps(2, 2)[..., 1:], self.maps(2, 2)[0]):
            with pytest.raises(InputError, match="feature maps of shape"):
                self.build().embed(wrong, shot=1)

    @pytest.mark.parametrize(("videos", "shot"), [(3, 2), (2, 0), (0, 1)])
    def test_support_that_is_no_whole_number_of_classes_is_refused(self, videos: int, shot: int) -> None:
        head = self.build()
        embedding = head.embed(self.maps(3, 2), shot=shot)
        with pytest.raises(InputError, match="support videos cannot be split"):
            head.compare(rows(embedding, list(range(videos))), embedding, shot=shot)


class NearestToItself:
    """For methods whose distance of a clip to itself is the least there is: 0, with one shot.

    Not promised by OTAM (a smooth minimum over paths lies below the path of equal frames), by TRX (a query is rebuilt
    from a mixture of tuples, not from its own), by TA2N from its second stage on (support and query are windowed in
    opposite directions), and by ARN and TARN (a learned score has no least value).
    """

    method: ClassVar[str]
    options: ClassVar[dict[str, Any]]

    def test_a_query_equal_to_a_shot_is_nearest_to_its_class(self) -> None:
        head = build_head(self.method, channels=6, frames=4, size=4, **self.options).double().eval()
        maps = torch.randn((5, 6, 4, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64).relu()
        distances = head(maps, maps[[3, 1, 4]])
        assert distances.argmin(1).tolist() == [3, 1, 4]
        found = distances[[0, 1, 2], [3, 1, 4]]
        torch.testing.assert_close(found, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)

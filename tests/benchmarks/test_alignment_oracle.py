"""What the modules are told is what happened to the clips: told so, they find the clips of a class alike."""

import numpy as np
import torch
from alignment_oracle import told_sc, told_tc, told_ttm, true_attention, true_offsets, true_theta
from synthetic_maps import Look, World
from torch import Tensor

from ta2n.pipeline.heads.ttm import hat_matrix

WAY = 5


def clips(kind: str) -> tuple[Tensor, Tensor, Look]:
    world = World(3, channels=16, frames=16, size=9, noise=0.0)
    labels = np.concatenate([np.arange(WAY), np.arange(WAY)])
    maps = world.clips(labels, 0, kinds=[kind], strength=0.6)
    return maps[:WAY], maps[WAY:], world.look(len(labels), 0, kinds=[kind], strength=0.6)


def untold(look: Look) -> Look:
    even = np.broadcast_to(np.linspace(0, 1, look.progress.shape[1]), look.progress.shape)
    return Look(progress=even, place=np.zeros_like(look.place))


def test_theta_brings_progress_to_run_from_0_to_1() -> None:
    progress = np.array([np.linspace(-0.5, 1.5, 9), np.linspace(0, 2, 9)])
    warp = hat_matrix(true_theta(Look(progress=progress, place=np.zeros((2, 2)))), 9).double()
    found = torch.einsum("bst,bt->bs", warp, torch.from_numpy(progress))
    torch.testing.assert_close(found, torch.linspace(0, 1, 9).double().expand(2, -1), atol=1e-5, rtol=0)


def test_attention_reads_the_query_where_the_action_was_as_far() -> None:
    support, query = np.array([0.0, 0.25, 1.0]), np.array([0.0, 0.5, 1.0])
    look = Look(progress=np.stack([support] * WAY + [query]), place=np.zeros((WAY + 1, 2)))
    expected = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])
    torch.testing.assert_close(true_attention(look), expected.expand(WAY, 1, 3, 3))


def test_offsets_are_how_much_farther_the_query_stands() -> None:
    place = np.array([[0.1, -0.2]] * WAY + [[0.3, 0.2], [-0.9, 0.0]])
    offsets = true_offsets(Look(progress=np.zeros((WAY + 2, 4)), place=place))
    assert offsets.shape == (WAY, 2, 4, 2)
    torch.testing.assert_close(offsets[0, :, 0], torch.tensor([[0.2, 0.4], [-0.75, 0.2]]))


def test_told_the_truth_clips_of_a_class_are_closer_than_told_nothing() -> None:
    for tell, kind in ((told_ttm, "duration"), (told_tc, "evolution"), (told_sc, "space")):
        support, query, look = clips(kind)
        truth, nothing = tell(support, query, look).diag(), tell(support, query, untold(look)).diag()
        assert truth.mean() < 0.6 * nothing.mean(), kind

"""What TTM, TC and SC could reach on their own kind of misalignment: each is told what it would have to find out.

    python benchmarks/alignment_oracle.py --seeds 5 --table oracle.md

The episodes are those that ``alignment.py`` tests on, and nothing is trained. A module that is told the truth and still
falls short cannot express what happened to the clips; one that does well when told, but not when trained, does not
learn. Told that all clips are aligned, a module only pools and compares: the rest is what alignment is worth.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from alignment import STRENGTHS, STUDENT, TEST_EPISODES, TEST_QUERIES, WAY, draw_episode, interval
from synthetic_maps import Look, World
from torch import Tensor

from ta2n.pipeline.heads.acm import averaged_mask
from ta2n.pipeline.heads.ops.factorised_conv import mix_frames
from ta2n.pipeline.heads.ops.frame_distance import whole_distances
from ta2n.pipeline.heads.ops.offset_network import REACH
from ta2n.pipeline.heads.ttm import hat_matrix

TEST_NUMBERS = 10**6
PERTURBATION = 0.2
# How much larger than the frames themselves TC's values are: what it adds then decides, and the frames do not.
VALUES = 10.0


def true_theta(look: Look) -> Tensor:
    """The (a, b) of TTM that brings each action to fill its clip, exact where progress is even: (B, 2)."""
    first, last = look.progress[:, 0], look.progress[:, -1]
    return torch.from_numpy(np.stack([1 / (last - first), (1 - first - last) / (last - first)], 1)).float()


def true_attention(look: Look) -> Tensor:
    """TC's (N, Q, T, T): each support frame reads the query where the action was as far, between its two frames."""
    support, queries = look.progress[:WAY], look.progress[WAY:]
    frames = np.arange(support.shape[1])
    where = np.stack([[np.interp(own, query, frames) for query in queries] for own in support])
    return torch.from_numpy(np.maximum(1 - np.abs(where[..., None] - frames), 0)).float()


def true_offsets(look: Look) -> Tensor:
    """SC's (N, Q, T, 2): how much farther the query's actor stands than the support's, as far as SC reaches."""
    apart = look.place[None, WAY:] - look.place[:WAY, None]
    offsets = torch.from_numpy(apart).float().clamp(-REACH, REACH)
    return offsets[:, :, None].expand(-1, -1, look.progress.shape[1], -1)


def told_ttm(support: Tensor, query: Tensor, look: Look) -> Tensor:
    """Distances (Q, N) between maps (N, C, T, H, W) and (Q, C, T, H, W) of clips that look as told."""
    warp = hat_matrix(true_theta(look), support.shape[2])
    s, q = (
        mix_frames(matrices, _channels_last(maps)) for matrices, maps in ((warp[:WAY], support), (warp[WAY:], query))
    )
    return whole_distances({"maps": s}, {"maps": q}, None)


def told_tc(support: Tensor, query: Tensor, look: Look) -> Tensor:
    """As :func:`told_ttm`; the value map is a multiple of the identity."""
    s, q = (
        {"maps": _channels_last(maps), "mean": mean, "value": VALUES * mean}
        for maps, mean in ((maps, maps.mean((3, 4)).transpose(1, 2)) for maps in (support, query))
    )
    return whole_distances(s, q, true_attention(look))


def told_sc(support: Tensor, query: Tensor, look: Look) -> Tensor:
    """As :func:`told_ttm`."""
    offsets = true_offsets(look)
    s_mask, q_mask = (averaged_mask(sign * offsets, support.shape[3], PERTURBATION) for sign in (1, -1))
    s = torch.einsum("nqthw,ncthw->nqtc", s_mask, support)
    q = torch.einsum("nqthw,qcthw->nqtc", q_mask, query)
    return (1 - F.cosine_similarity(s, q, dim=3)).sum(2).T


MODULES = {"TTM": (told_ttm, "duration"), "TC": (told_tc, "evolution"), "SC": (told_sc, "space")}


def measure(world: World, module: str, strength: float) -> tuple[float, float]:
    """Accuracy in percent, told that clips are aligned and told the truth."""
    tell, kind = MODULES[module]
    right = torch.zeros(2)
    for number in range(TEST_EPISODES):
        support, query, labels = draw_episode(world, number, kind, strength, new=True, queries=TEST_QUERIES)
        for place, shown in enumerate((0.0, strength)):
            look = world.look(WAY + len(query), TEST_NUMBERS + number, kinds=[kind], strength=shown)
            right[place] += (tell(support, query, look).argmin(1) == labels).float().mean()
    first, second = (100 * right / TEST_EPISODES).tolist()
    return first, second


def write_table(seeds: int) -> str:
    """Markdown: two rows for each module."""
    lines = ["| module, kind | told | " + " | ".join(map(str, STRENGTHS)) + " |", "|---|---|" + "---|" * len(STRENGTHS)]
    for module, (_, kind) in MODULES.items():
        found = [[measure(World(seed, size=5), module, strength) for seed in range(seeds)] for strength in STRENGTHS]
        for place, what in enumerate(("all aligned", "the truth")):
            cells = ["{:.1f} ± {:.1f}".format(*interval([pair[place] for pair in pairs])) for pairs in found]
            lines.append(f"| {module}, {kind} | {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 4, 1)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(STUDENT))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    table = write_table(given.seeds)
    print(table)
    if given.table:
        given.table.write_text(table)


if __name__ == "__main__":
    main()

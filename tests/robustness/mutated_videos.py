"""Mutates videos and decodes each as extraction does, in a process that can be killed.

    python tests/robustness/mutated_videos.py --count 300 --seed 0

Held: the frames are those of a plain decode from start to end; or they are others and the clip says that errors were
concealed; or the clip is refused in one line with a reason that is true. Failed: it hangs, crashes, gives other frames
in silence, or refuses for a reason that is not so. The same seed and number make the same mutant.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from _mutations import MUTATIONS
from _originals import Original, originals

from ta2n.pipeline.datasets.decode_check import compare
from ta2n.pipeline.datasets.in_order import decode_in_order
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip
from ta2n.pipeline.videos.pool import DecodePool

DEADLINE_SECONDS = 20.0
OUTCOMES = ("same frames", "errors told", "refused", "failed")


@dataclass(frozen=True)
class Mutant:
    """A file, what was done to it, and whether its bytes are still the original's."""

    name: str
    path: Path
    kind: str
    sound: bool


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: one of `OUTCOMES`, and why."""

    mutant: Mutant
    outcome: str
    detail: str


def mutants(folder: Path, sources: list[Original], *, count: int, seed: int, first: int = 0) -> Iterator[Mutant]:
    """Writes mutants into a folder, one after the other; the kinds take turns."""
    kinds = list(MUTATIONS)
    for number in range(first, first + count):
        rng = np.random.default_rng([seed, number])
        kind = kinds[number % len(kinds)]
        one = sources[int(rng.integers(len(sources)))]
        content, suffix = MUTATIONS[kind](one, sources, rng)
        path = folder / f"{number}{suffix}"
        path.write_bytes(content)
        yield Mutant(f"trial {number}, {one.name}", path, kind, content == one.content)


def verdicts(made: list[Mutant], *, workers: int) -> Iterator[Verdict]:
    """Decodes mutants, and says of each how it went."""
    jobs = [DecodeJob(mutant.name, mutant.path, "tsn", 8, 1, 0, None) for mutant in made]
    with (
        DecodePool(workers=workers, deadline_seconds=DEADLINE_SECONDS) as pool,
        DecodePool(workers=workers, deadline_seconds=DEADLINE_SECONDS, decode=decode_in_order) as plain,
    ):
        for mutant, clip, other in zip(made, pool.map(jobs), plain.map(jobs), strict=True):
            yield Verdict(mutant, *judged(mutant, clip, other))


def judged(mutant: Mutant, clip: DecodedClip | FailedClip, other: DecodedClip | FailedClip) -> tuple[str, str]:
    """The outcome of a mutant, and what speaks for it."""
    if isinstance(clip, FailedClip):
        return ("refused" if _is_true(clip.reason, mutant) else "failed"), clip.reason
    found = compare(clip, other)
    if found.result == "same":
        return "same frames", found.detail
    return ("errors told" if clip.concealed > 0 else "failed"), f"{found.result}: {found.detail}"


def _is_true(reason: str, mutant: Mutant) -> bool:
    """Whether a refusal says what is so; what only a hang, a crash or a fault of ours would say never is."""
    text = reason.removeprefix(f"{mutant.path}: ")
    if "\n" in text:
        return False
    if "the file is empty" in text:
        return mutant.path.stat().st_size == 0
    if "is not a video that can be opened" in text:
        return _streams(mutant.path) is None
    if "holds no video stream" in text:
        return _streams(mutant.path) == []
    if "codec that no decoder here knows" in text:
        return None in (_streams(mutant.path) or [])
    if "decord gives wrong images" in text:
        return True
    damage = ("is damaged", "are damaged", "cut off or damaged", "no frame that can be decoded")
    return any(word in text for word in damage) and not mutant.sound


def _streams(path: Path) -> list[str | None] | None:
    """The codec of each video stream, None where no decoder knows it; None in all where the file does not open."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            contexts = [getattr(stream, "codec_context", None) for stream in container.streams.video]
            return [context.name if context else None for context in contexts]
    except (av.FFmpegError, ValueError, IndexError):
        return None


def table(found: list[Verdict]) -> str:
    """How many mutants of each kind came out how, and a line for each that failed."""
    counts = Counter((verdict.mutant.kind, verdict.outcome) for verdict in found)
    width = max(map(len, MUTATIONS))
    lines = [f"{'':{width}}  tried  " + "  ".join(OUTCOMES)]
    for kind in (*MUTATIONS, "in all"):
        row = [sum(counts[one, outcome] for one in MUTATIONS if kind in (one, "in all")) for outcome in OUTCOMES]
        cells = "  ".join(f"{value:{len(outcome)}}" for value, outcome in zip(row, OUTCOMES, strict=True))
        lines.append(f"{kind:{width}}  {sum(row):5}  {cells}")
    failed = (verdict for verdict in found if verdict.outcome == "failed")
    lines += [f"{verdict.mutant.kind}, {verdict.mutant.name}: {verdict.detail}" for verdict in failed]
    return "\n".join(lines) + "\n"


def main(given: list[str] | None = None) -> int:
    """Makes and decodes the mutants that are asked for; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="mutants in all [300]")
    parser.add_argument("--seed", type=int, default=0, help="of everything that chance decides [0]")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant, to repeat one [0]")
    parser.add_argument("--workers", type=int, default=2, help="decoding processes of each way [2]")
    asked = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="mutated-") as temporary:
        folder = Path(temporary)
        (folder / "sound").mkdir()
        sources = originals(folder / "sound")
        made = list(mutants(folder, sources, count=asked.count, seed=asked.seed, first=asked.first))
        found = list(verdicts(made, workers=asked.workers))
    sys.stdout.write(table(found))
    return int(any(verdict.outcome == "failed" for verdict in found))


if __name__ == "__main__":
    sys.exit(main())

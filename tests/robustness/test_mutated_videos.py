"""A seeded sample of `mutated_videos.py`: no mutant hangs, crashes, or gives other frames without a word."""

from pathlib import Path

import mutated_videos
import numpy as np
import pytest
from _mutations import MUTATIONS
from _originals import originals

from ta2n.pipeline.videos.decode import DecodedClip, FailedClip

SAMPLE = 36


def test_a_sample_of_mutants_holds(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    sources = originals(tmp_path / "sound", real=False)
    made = list(mutated_videos.mutants(tmp_path, sources, count=SAMPLE, seed=1))
    found = list(mutated_videos.verdicts(made, workers=2))
    assert [(verdict.mutant.name, verdict.detail) for verdict in found if verdict.outcome == "failed"] == []
    assert {verdict.mutant.kind for verdict in found} == set(MUTATIONS)
    shown = mutated_videos.table(found).splitlines()
    assert shown[-1].split()[:3] == ["in", "all", str(SAMPLE)]


@pytest.mark.parametrize(
    ("clip", "outcome"),
    [
        (
            FailedClip("a", "a.avi: the video is damaged, decoding stops before its end (9 frames announced)."),
            "refused",
        ),
        (FailedClip("a", "a.avi: the file is empty."), "failed"),
        (FailedClip("a", "a.avi: the file is not a video that can be opened."), "refused"),
        (FailedClip("a", "a.avi: not decoded within 20 s; give it more."), "failed"),
        (FailedClip("a", "a.avi: the decoding process was killed by signal SIGSEGV."), "failed"),
        (FailedClip("a", "a.avi: unexpected KeyError while decoding: 'x'"), "failed"),
        (FailedClip("a", "a.avi: the video is damaged\nand so on."), "failed"),
    ],
)
def test_a_refusal_must_be_true_and_in_one_line(tmp_path: Path, clip: FailedClip, outcome: str) -> None:
    (tmp_path / "a.avi").write_text("no video")
    mutant = mutated_videos.Mutant("a", tmp_path / "a.avi", "bits flipped", sound=False)
    assert mutated_videos.judged(mutant, clip, clip)[0] == outcome


def test_other_frames_must_be_told(tmp_path: Path) -> None:
    mutant = mutated_videos.Mutant("a", tmp_path / "a.avi", "bits flipped", sound=False)
    step = np.zeros((1, 1), np.int32)

    def clip(frames: int, concealed: int) -> DecodedClip:
        return DecodedClip("a", np.zeros((1, 2, 2, 3), np.uint8), step, step, frames, 0.0, "decord", concealed)

    plain = DecodedClip("a", np.zeros((1, 2, 2, 3), np.uint8), step, np.zeros((3, 1), np.int32), 9, 0.0)
    assert mutated_videos.judged(mutant, clip(9, 0), plain)[0] == "same frames"
    assert mutated_videos.judged(mutant, clip(8, 0), plain)[0] == "failed"
    assert mutated_videos.judged(mutant, clip(8, 3), plain)[0] == "errors told"

"""The benchmark of extraction: what it would time does what it says."""

from pathlib import Path

import extraction
import pytest
import torch

from ta2n.pipeline.demo.render import render_demo_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    render_demo_clips(folder, clips_per_class=1)
    return folder


def test_files_are_taken_evenly(clips: Path) -> None:
    given = extraction.parse_arguments(["--root", str(clips), "--clips", "5"])
    files = extraction.find_files(given, clips)
    everything = sorted(clips.rglob("*.mp4"))
    assert files[0] == everything[0]
    assert files[-1] == everything[-1]
    assert len(set(files)) == 5


def test_the_memory_of_a_long_run(clips: Path, tmp_path: Path) -> None:
    rows = extraction.measure_memory(sorted(clips.rglob("*.mp4"))[:2], 20, 1, tmp_path)
    assert [row["clips"] for row in rows] == list(range(2, 21, 2))
    assert all(row["MB"] > 0 for row in rows)


def test_the_plain_loop_runs_the_network_on_every_clip(clips: Path) -> None:
    seen: list[torch.Size] = []

    class Seen(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.shape)
            return images

    extraction.plain_loop(Seen(), sorted(clips.rglob("*.mp4"))[:3], 4)
    assert seen == [(4, 3, 224, 224)] * 3

"""The benchmark of fine-tuning, on an episode so small that only what it computes is tested."""

import json
from pathlib import Path
from typing import Any

import finetune
import pytest

SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "method": "protonet",
    "project": 8,
    "way": 2,
    "shot": 1,
    "queries": 1,
    "frames": 2,
    "side": 32,
    "clips_at_once": 1,
    "steps": 1,
}


@pytest.mark.parametrize("trainable", list(finetune.STARTS))
def test_both_ways_give_the_same_gradient(trainable: str) -> None:
    plain, cached = (finetune.step({**SMALL, "trainable": trainable, "k": k}) for k in (0, None))
    assert cached["norm"] == pytest.approx(plain["norm"], rel=1e-3)
    assert plain["norm"] > 0
    assert min(plain["seconds"], cached["seconds"]) > 0


def test_a_case_that_does_not_fit_is_said_and_ends_nothing() -> None:
    case = {**SMALL, "trainable": "all", "k": 0, "side": 1024, "frames": 64}
    assert finetune.measured({**case, "bytes": 3_000_000_000}) is None
    row = finetune._row("all", "plain autograd", None, None)
    assert row["s a step"] == row["GB of the step"] == "more than there is"
    assert row["time, of plain"] == ""


def test_the_table_has_plain_all_and_each_k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(given: dict[str, Any]) -> dict[str, float]:
        asked.append(given["k"])
        return {"seconds": 2.0 if given["k"] == 0 else 2.8, "peak": 3e9, "step": 2e9, "norm": 1.0}

    monkeypatch.setattr(finetune, "measured", measured)
    file = tmp_path / "finetune.json"
    finetune.main(["--trainable", "all", "--grad-clips", "10", "30", "--json", str(file)])
    assert asked == [0, None, 10]
    found = json.loads(file.read_text())
    assert [row["step"] for row in found["steps"]] == [
        "plain autograd",
        "clip by clip, k = 30 of 30",
        "clip by clip, k = 10 of 30",
    ]
    assert found["steps"][2]["time, of plain"] == 1.4
    assert found["steps"][0]["wanted"] == ""

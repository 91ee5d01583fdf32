"""The GPU script, tried on a CPU."""

import json
from pathlib import Path

import gpu
import pytest
import torch


def test_every_section_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # seconds of compiling, for nothing to see
    results = gpu.main(["--device", "cpu", "--tiny", "--json", str(tmp_path / "gpu.json")])
    assert list(results) == ["rates", "heads", "evaluation", "training", "extraction"]
    assert not any("left out" in row for rows in results.values() for row in rows)
    assert not any("failed" in row["note"] for row in results["heads"])
    assert results["evaluation"][0]["distances differ by"] < 1e-4
    assert [row["maps"] for row in results["training"]] == ["device", "disk"]
    assert json.loads((tmp_path / "gpu.json").read_text())["card"] == "cpu"
    assert "episodes/s" in capsys.readouterr().out


def test_without_time_sections_say_that_they_were_left_out() -> None:
    results = gpu.main(["--device", "cpu", "--tiny", "--budget", "0"])
    assert all("left out" in rows[0] for rows in results.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device() -> None:
    with pytest.raises(SystemExit, match="no CUDA device"):
        gpu.main([])

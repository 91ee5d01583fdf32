"""The benchmarks of heads and of evaluation, so small that only their arithmetic is tested."""

from pathlib import Path

import evaluation
import heads
import pytest
import torch

from ta2n.pipeline.heads import build_head

TINY = ["--channels", "4", "--frames", "4", "--size", "7"]


@pytest.mark.parametrize("shot", [1, 3])
@pytest.mark.parametrize("name", ["reference", "tensors"])
@pytest.mark.parametrize("train", [False, True])
def test_plain_forms_compute_the_same(shot: int, name: str, train: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    support = torch.rand(2 * shot, 4, 4, 7, 7, generator=generator)
    query = torch.rand(5, 4, 4, 7, 7, generator=generator)
    head = build_head("ta2n", channels=4, frames=4, size=7, dropout=0.0, init="random").train(train)
    with torch.no_grad():
        found = heads.plain_form(name, head, support, query, shot)()
        torch.testing.assert_close(found, head(support, query, shot=shot), rtol=1e-4, atol=1e-5)


def test_the_tables_of_heads() -> None:
    given = heads.parse_arguments(
        [*TINY, "--queries", "3", "--repeats", "1", "--methods", "ttm", "protonet", "--project", "2"]
    )
    forms = heads.compare_forms(given, 2)
    assert [row["ta2n"] for row in forms] == ["2-shot evaluation", "2-shot training step"]
    assert all(row["limit ms"] > 0 and row["times as fast"] > 0 for row in forms)
    rows = heads.measure_heads(given, 1)
    assert [row["head"] for row in rows] == ["ttm 1-shot"] * 2 + ["protonet 1-shot"] * 2 + [
        "ta2n --project 2 1-shot"
    ] * 2
    assert rows[1]["limit ms"] > 1.5 * rows[0]["limit ms"]  # gradients of the weights are as many products again


@pytest.mark.parametrize("memory", [None, 0.0])
def test_evaluation_gives_what_the_written_method_gives(tmp_path: Path, memory: float | None) -> None:
    arguments = [*TINY, "--videos", "240", "--episodes", "6", "--queries", "1", "--written", "2"]
    given = evaluation.parse_arguments(arguments)
    given.memory = memory
    row = evaluation.measure(tmp_path, given)
    assert (row["episodes"], row["queries"]) == (6, 5)
    assert 0 <= row["distances differ by"] < 1e-4
    assert row["ratio"] > 0

"""Limits of memory in made-up trees of control groups, version 1, version 2 and both."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ta2n.pipeline.cache import in_memory
from ta2n.pipeline.cache.cgroup import free_in_groups
from ta2n.pipeline.cache.in_memory import free_bytes

GB = 10**9
# What version 1 says where there is no limit.
UNLIMITED = 9223372036854771712


def left(folder: Path, membership: str, files: Mapping[str, object]) -> int | None:
    """What is found in a tree of these files."""
    for name, content in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(f"{content}\n")
    (folder / "self").write_text(membership)
    return free_in_groups(folder / "cgroup", folder / "self")


def v2(group: str, limit: object, used: int, *, high: object = "max", stat: str = "") -> dict[str, object]:
    names = {"memory.max": limit, "memory.high": high, "memory.current": used, "memory.stat": stat}
    return {f"{group}{name}": content for name, content in names.items()}


def v1(group: str, limit: int, used: int, *, stat: str = "") -> dict[str, object]:
    names = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}
    return {f"memory/{group}{name}": content for name, content in names.items()}


def test_a_container_of_version_2_sees_itself_as_the_root(tmp_path: Path) -> None:
    assert left(tmp_path, "0::/\n", v2("", 8 * GB, 3 * GB)) == 5 * GB


def test_what_files_have_in_the_cache_gives_way_and_shared_memory_does_not(tmp_path: Path) -> None:
    stat = f"anon {GB}\nfile {5 * GB}\nshmem {GB}\ninactive_file {3 * GB}\nactive_file {GB}\nslab_reclaimable 500"
    assert left(tmp_path, "0::/\n", v2("", 8 * GB, 7 * GB, stat=stat)) == 5 * GB + 500


def test_version_1_counts_the_groups_inside_with_their_total(tmp_path: Path) -> None:
    stat = f"inactive_file 7\nactive_file 8\ntotal_inactive_file {GB}\ntotal_active_file {GB}"
    membership = "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n"
    assert left(tmp_path, membership, v1("job/", 4 * GB, 3 * GB, stat=stat)) == 3 * GB


def test_the_limit_of_a_group_above_holds_too(tmp_path: Path) -> None:
    files = v2("slurm/job/step/", "max", GB) | v2("slurm/job/", 6 * GB, 5 * GB) | v2("slurm/", 90 * GB, 10 * GB)
    assert left(tmp_path, "0::/slurm/job/step\n", files) == GB


@given(limits=st.lists(st.integers(1, 100), min_size=1, max_size=4), used=st.integers(0, 120), version=st.booleans())
def test_it_is_the_least_of_all_groups_from_the_own_one_up(
    tmp_path_factory: pytest.TempPathFactory, limits: list[int], used: int, version: bool
) -> None:
    made: dict[str, object] = {}
    group = ""
    for limit in limits:
        made |= v1(group, limit, used) if version else v2(group, limit, used)
        group += "g/"
    path = "/g" * (len(limits) - 1) or "/"
    folder = tmp_path_factory.mktemp("groups")
    assert left(folder, f"4:memory:{path}\n" if version else f"0::{path}\n", made) == max(0, min(limits) - used)


def test_above_memory_high_everything_crawls(tmp_path: Path) -> None:
    assert left(tmp_path, "0::/a\n", v2("a/", 8 * GB, GB, high=2 * GB)) == GB


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    assert left(tmp_path, "0::/\n", v2("", GB, 2 * GB)) == 0


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    files = v1("job/", 4 * GB, GB) | {"unified/job/cgroup.procs": 1}
    assert left(tmp_path, "4:memory:/job\n0::/job\n", files) == 3 * GB


def test_the_path_of_the_host_in_a_container_without_a_namespace(tmp_path: Path) -> None:
    assert left(tmp_path, "4:memory:/docker/0123\n", v1("", 4 * GB, GB)) == 3 * GB
    assert left(tmp_path / "2", "0::/../other\n", v2("", 4 * GB, GB) | v2("other/", 5, 1)) == 3 * GB


def test_no_limit(tmp_path: Path) -> None:
    assert left(tmp_path, "0::/a\n", v2("a/", "max", GB)) is None
    assert free_in_groups(tmp_path / "none", tmp_path / "none") is None


def test_a_limit_without_the_use_says_nothing(tmp_path: Path) -> None:
    assert left(tmp_path, "0::/\n", {"memory.max": GB}) is None


def test_the_machine_or_the_group_whichever_has_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    whole = left(tmp_path, "4:memory:/\n", v1("", UNLIMITED, GB))
    monkeypatch.setattr(in_memory, "free_in_groups", lambda: whole)
    machine = free_bytes(cpu)
    assert 0 < machine < UNLIMITED - GB
    monkeypatch.setattr(in_memory, "free_in_groups", lambda: 1000)
    assert free_bytes(cpu) == 1000
    monkeypatch.setattr(in_memory, "free_in_groups", lambda: None)
    assert free_bytes(cpu) > 1000

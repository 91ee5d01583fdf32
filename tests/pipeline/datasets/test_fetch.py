"""NamedDataset lists come once, with their pinned contents or not at all. A folder stands for the network."""

import hashlib
import sys
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType

import pytest
import shared_data

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.fetch import fetch_lists, lists_home
from ta2n.pipeline.datasets.published import LISTS, PUBLISHED, SOURCE, NamedDataset

CONTENTS = dict(zip(LISTS, (b"a/1\n", b"b/1\n", b"c/1\n"), strict=True))
TOY = NamedDataset(
    name="toy",
    lists="toy_lists",
    digests=MappingProxyType({name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}),
    homes=("toy",),
)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    folder = tmp_path / "server" / TOY.lists
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def fetch(server: Path, home: Path) -> tuple[Path, list[str]]:
    urls: list[str] = []
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(server.parent))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            source = f"http://127.0.0.1:{http.server_address[1]}"
            folder = fetch_lists(TOY, home, source=source, on_file=urls.append)
        finally:
            http.shutdown()
            thread.join()
    return folder, [url.rpartition("/")[2] for url in urls]


def test_lists_are_fetched_once(server: Path, tmp_path: Path) -> None:
    folder, fetched = fetch(server, tmp_path / "home")
    assert folder == tmp_path / "home" / "toy_lists"
    assert fetched == list(LISTS)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == CONTENTS
    assert fetch(server, tmp_path / "home") == (folder, [])


def test_a_broken_fetch_goes_on_where_it_stopped_and_says_what_to_do(server: Path, tmp_path: Path) -> None:
    (server / LISTS[1]).rename(server / "away")
    with pytest.raises(MissingError) as caught:
        fetch(server, tmp_path / "home")
    message = str(caught.value)
    assert [name in message for name in LISTS] == [False, True, True]
    assert "--splits" in message
    assert str(tmp_path / "home" / "toy_lists") in message
    (server / "away").rename(server / LISTS[1])
    assert fetch(server, tmp_path / "home")[1] == [LISTS[1], LISTS[2]]


def test_what_is_not_the_pinned_file_is_not_kept(server: Path, tmp_path: Path) -> None:
    (server / LISTS[0]).write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"trainlist03\.txt: gave a file with another SHA-256 than the pinned \w{16}…"):
        fetch(server, tmp_path / "home")
    assert not list((tmp_path / "home").rglob("*list*.txt*"))


def test_a_damaged_list_is_fetched_again(server: Path, tmp_path: Path) -> None:
    folder, _ = fetch(server, tmp_path / "home")
    (folder / LISTS[2]).write_bytes(b"torn")
    assert fetch(server, tmp_path / "home") == (folder, [LISTS[2]])
    assert (folder / LISTS[2]).read_bytes() == CONTENTS[LISTS[2]]


def test_a_home_that_cannot_be_written_is_one_error(server: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(server, tmp_path / "home")


def test_the_home_is_where_caches_of_this_user_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lists_home().name == "splits"
    assert sys.platform != "linux" or lists_home() == tmp_path / "ta2n" / "splits"


def test_nothing_is_printed(server: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(server, tmp_path / "home")
    assert capfd.readouterr() == ("", "")


@shared_data.needs_shared
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_pins_are_those_of_the_published_lists(name: str) -> None:
    dataset = PUBLISHED[name]
    folder = shared_data.SHARED / "splits" / dataset.lists
    found = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in LISTS}
    assert found == dict(dataset.digests)


def test_the_source_is_one_commit_and_no_two_data_sets_share_a_list() -> None:
    assert SOURCE.startswith("https://")
    assert "/2becdd8174fe40812ef4c41828b5d9fc20fa95ec/" in SOURCE
    pins = [pin for dataset in PUBLISHED.values() for pin in dataset.digests.values()]
    assert len(set(pins)) == len(pins) == 15
    assert [name for name, dataset in PUBLISHED.items() if not dataset.flip] == ["ssv2-otam", "ssv2-cmn"]

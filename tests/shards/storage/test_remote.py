"""Shards behind S3 and HTTP servers on this machine: the same samples, with servers that fail, or an error."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from shards.errors import DataError
from shards.loader import Loader, Plan
from shards.manifest import Manifest
from shards.packing.pack import pack
from shards.reader import Resident
from shards.storage import remote
from shards.storage.cache import Cache
from shards.storage.remote import is_address
from shards.stream import Stream

pytest.importorskip("pyarrow")
GIB = 2**30


@pytest.fixture(scope="module")
def packed(people: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote") / "shards"
    pack(people(30), folder, shard_bytes=6000)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, small pieces: every shard takes several requests."""
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    monkeypatch.setattr(remote, "PIECE", 3000)
    monkeypatch.setattr(remote, "STALL", 0.5)


class Web(ThreadingHTTPServer):
    """A folder, served with ranges; every `fails`-th request for a file goes wrong, each time in another way."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.fails, self.ranges = folder, 0, True
        self.requests = self.failed = 0
        self.asked: list[str] = []
        self.over = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that the test breaks are no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, *words: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        web = self.server
        web.requests += 1
        web.asked.append(self.path)
        way = None
        if web.fails and web.requests % web.fails == 0:
            web.failed += 1
            way = ("refuse", "reset", "cut short", "hang")[web.failed % 4]
        path = web.folder / self.path.lstrip("/")
        if way == "refuse" or not path.is_file():
            self.send_error(500 if way else 404)
            return
        if way in ("reset", "hang"):
            self.close_connection = True
            web.over.wait(30 if way == "hang" else 0)
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = path.read_bytes()
        first, end = 0, len(content)
        wanted = self.headers.get("Range") if web.ranges else None
        if wanted:
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            first, end = int(low), min(int(high or end) + 1, end)
        self.send_response(206 if wanted else 200)
        if web.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - first))
        self.end_headers()
        if body:
            self.wfile.write(content[first : end - (way == "cut short") * (end - first) // 2])
        if way == "cut short":
            self.close_connection = True


@pytest.fixture
def web(packed: Path, tmp_path: Path) -> Iterator[Web]:
    """An HTTP server whose files may be damaged."""
    server = Web(Path(shutil.copytree(packed, tmp_path / "served" / "shards")).parent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Proxy(Web):
    """Passes requests on to another server, but for every `fails`-th, which goes wrong."""

    def __init__(self, to: str) -> None:
        super().__init__(Path("/"))
        self.to = to
        self.RequestHandlerClass = Passing


class Passing(Handler):
    server: Proxy

    def answer(self, *, body: bool) -> None:
        web = self.server
        web.requests += 1
        if web.fails and web.requests % web.fails == 0:
            web.failed += 1
            if web.failed % 2:
                self.send_error(503)
            else:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        link = HTTPConnection(web.to)
        link.request(self.command, self.path, headers=dict(self.headers))
        found = link.getresponse()
        content = found.read()
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name not in ("Connection", "Transfer-Encoding", "Date", "Server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        link.close()


@pytest.fixture
def proxy(s3: str) -> Iterator[Proxy]:
    """Between us and the S3 server."""
    server = Proxy(s3.partition("endpoint_override=")[2].partition("&")[0])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def s3(packed: Path) -> Iterator[str]:
    """The address of the folder in an S3 bucket."""
    pytest.importorskip("flask")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"s3://someone:secret@bucket/my/shards?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    from pyarrow import fs

    system, path = fs.FileSystem.from_uri(address + "&allow_bucket_creation=true")
    system.create_dir("bucket")
    fs.copy_files(str(packed), path, destination_filesystem=system)
    yield address
    server.stop()


def cached(tmp_path: Path, limit: int = GIB) -> Cache:
    return Cache(tmp_path / "cache", limit)


def same_batches(stream: Stream, folder: Path) -> bool:
    plan = Plan(batch=8, group=4, seed=3, window=2)
    a, b = (
        Loader(data, plan, unit="performance", pairs=True, labels=False) for data in (stream, Resident.load(folder))
    )
    for step in range(8):
        for group in range(2):
            for x, y in zip(a.group(step, group).views, b.group(step, group).views, strict=True):
                bodies = zip(x.start, y.start, x.length, strict=True)
                if not all(torch.equal(x.frames[i : i + n], y.frames[j : j + n]) for i, j, n in bodies):
                    return False
    return True


def test_s3(s3: str, packed: Path, tmp_path: Path) -> None:
    stream = Stream.open(s3, cache=cached(tmp_path))
    assert same_batches(stream, packed)
    stream.shelf.close()
    assert torch.equal(Resident.load(s3, cache=cached(tmp_path)).frames, Resident.load(packed).frames)


def test_every_tenth_request_to_s3_may_fail(s3: str, proxy: Proxy, packed: Path, tmp_path: Path) -> None:
    proxy.fails = 10
    stream = Stream.open(s3.replace(proxy.to, proxy.address.removeprefix("http://")), cache=cached(tmp_path))
    assert same_batches(stream, packed)
    stream.shelf.close()
    assert proxy.failed >= 3


def test_s3_without_the_folder(s3: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s3://bucket/my/nothing/manifest\.json is missing") as caught:
        Stream.open(s3.replace("/shards", "/nothing"), cache=cached(tmp_path))
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_http(web: Web, packed: Path, tmp_path: Path) -> None:
    stream = Stream.open(f"{web.address}/shards/", cache=cached(tmp_path))
    assert same_batches(stream, packed)
    stream.shelf.close()
    tars = [path for path in web.asked if path.endswith(".tar")]
    assert set(tars) == {f"/shards/{shard.file}" for shard in stream.manifest.shards}
    requests = web.requests
    assert torch.equal(
        Resident.load(f"{web.address}/shards", cache=cached(tmp_path)).frames, Resident.load(packed).frames
    )
    assert web.requests <= requests + 3, "what is in the cache is not fetched again"


def test_http_without_ranges(web: Web, packed: Path, tmp_path: Path) -> None:
    web.ranges = False
    data = Resident.load(f"{web.address}/shards", cache=cached(tmp_path))
    assert torch.equal(data.frames, Resident.load(packed).frames)


@pytest.mark.parametrize("ranges", [True, False])
def test_every_tenth_request_may_fail(web: Web, packed: Path, tmp_path: Path, ranges: bool) -> None:
    web.fails, web.ranges = 10, ranges
    stream = Stream.open(f"{web.address}/shards", cache=cached(tmp_path))
    assert same_batches(stream, packed)
    stream.shelf.close()
    assert web.failed >= 3


def test_a_server_that_always_fails_is_named(web: Web, tmp_path: Path) -> None:
    stream = Stream.open(f"{web.address}/shards", cache=cached(tmp_path))
    web.fails = 1
    with pytest.raises(DataError, match=r"/shard-0000\d\.tar (cannot be read|is missing, or the server does not)"):
        stream.recordings(range(len(stream)))
    stream.shelf.close()
    with pytest.raises(DataError, match=r"manifest\.json (cannot be read|is missing, or the server does not give it)"):
        Stream.open(f"{web.address}/shards", cache=cached(tmp_path))


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1024], r"shard-00003\.tar is truncated \(\d+ of \d+ bytes\)"),
        (lambda content: content + b"more", r"shard-00003\.tar is too long"),
        (lambda content: content[:3000] + b"!" + content[3001:], r"shard-00003\.tar is damaged: its SHA-256 differs"),
    ],
)
def test_damage_at_the_source_is_named(
    web: Web, tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    stream = Stream.open(f"{web.address}/shards", cache=cached(tmp_path))
    damage(web.folder / "shards" / "shard-00003.tar", change)
    with pytest.raises(DataError, match=message):
        stream.recordings(range(len(stream)))
    stream.shelf.close()
    kept = {path.name for path in (tmp_path / "cache").iterdir()}
    assert stream.manifest.shards[3].sha256 not in kept and not any(name.endswith(".partial") for name in kept)


def test_missing_files_are_named(web: Web, tmp_path: Path) -> None:
    stream = Stream.open(f"{web.address}/shards", cache=cached(tmp_path))
    (web.folder / "shards" / "shard-00002.tar").unlink()
    with pytest.raises(DataError, match=r"http://.*/shards/shard-00002\.tar is missing"):
        stream.recordings(range(len(stream)))
    stream.shelf.close()
    with pytest.raises(DataError, match=r"http://.*/other/manifest\.json is missing"):
        Stream.open(f"{web.address}/other", cache=cached(tmp_path))
    damage(web.folder / "shards" / "manifest.json", lambda content: content[:100])
    with pytest.raises(DataError, match=r"/shards/manifest\.json: not a readable manifest"):
        Stream.open(f"{web.address}/shards", cache=cached(tmp_path))


def test_a_copy_that_was_damaged_here_is_fetched_again(web: Web, packed: Path, tmp_path: Path) -> None:
    Resident.load(f"{web.address}/shards", cache=cached(tmp_path))
    first, second, *_ = Manifest.read(packed).shards
    damage(tmp_path / "cache" / first.sha256, lambda content: content[:-1] + b"!")
    damage(tmp_path / "cache" / second.sha256, lambda content: content[:-1])
    web.asked.clear()
    data = Resident.load(f"{web.address}/shards", cache=cached(tmp_path))
    assert torch.equal(data.frames, Resident.load(packed).frames)
    tars = {path for path in web.asked if path.endswith(".tar")}
    assert tars == {f"/shards/{first.file}", f"/shards/{second.file}"}
    for shard in (first, second):
        assert hashlib.sha256((tmp_path / "cache" / shard.sha256).read_bytes()).hexdigest() == shard.sha256


def test_the_cache_holds_no_more_than_it_may(web: Web, packed: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(packed)
    largest = max(shard.bytes for shard in manifest.shards)
    limit = manifest.index.bytes + 4 * largest
    stream = Stream.open(f"{web.address}/shards", cache=cached(tmp_path, limit), limit=2 * largest)
    plan = Plan(batch=4, group=4, seed=3, window=2)
    loader = Loader(stream, plan, unit="performance", pairs=False, labels=False)
    for step in range(16):
        loader.group(step, 0)
        sizes = []
        for path in (tmp_path / "cache").iterdir():
            with suppress(FileNotFoundError):  # shards are fetched ahead, on threads, and make others go meanwhile
                sizes.append(path.stat().st_size)
        assert sum(sizes) <= limit
    stream.shelf.close()
    assert manifest.total_bytes > 2 * limit
    assert len(sizes) > 2


def test_a_cache_that_is_too_small_is_named(web: Web, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cache may hold 10 bytes and index\.npz has \d+; allow more"):
        Stream.open(f"{web.address}/shards", cache=cached(tmp_path, 10))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gopher://host/shards", "gopher://host/shards: no folder can be reached by this address"),
        ("s3://", "no folder can be reached by this address"),
    ],
)
def test_an_address_that_leads_nowhere_is_named(tmp_path: Path, address: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Stream.open(address, cache=cached(tmp_path))


def test_addresses_are_told_from_paths() -> None:
    assert is_address("s3://bucket/shards") and is_address("https://host/shards")
    assert not is_address("packed/shards") and not is_address(Path("s3:/bucket"))

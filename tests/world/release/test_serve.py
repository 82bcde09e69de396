"""The server for a LAN: what a client sees of it, and what it never shows."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from whiz.world.release.serve import Handler, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.release.conftest import Master

ID = "ab" * 32


@contextmanager
def running(repo: str, most: int = 8) -> Iterator[int]:
    with Server(repo, "127.0.0.1", 0, most) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as c:
        c.putrequest(method, path, skip_host=False, skip_accept_encoding=True)
        for key, held in headers.items():
            c.putheader(key.replace("_", "-"), held)
        c.endheaders()
        answer = c.getresponse()
        return answer.status, {k: v for k, v in answer.getheaders() if k != "Date"}, answer.read()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    held = tmp_path / "repo"
    for name, data in {
        "channel/stable": b"the channel",
        "root/1": b"root",
        f"m/{ID}": b"m" * 1000,
        f"o/ab/{ID}": bytes(range(256)) * 1000,
        f"d/0-{ID}": b"pack",
        f"d/{ID}-{ID}": b"pack",
        "history/stable/17": b"history",
        f"o/ab/{'0' * 64}": b"",
    }.items():
        (held / name).parent.mkdir(parents=True, exist_ok=True)
        (held / name).write_bytes(data)
    (tmp_path / "secret").write_text("secret")
    (held / "secret").write_text("secret")
    (held / ".new").mkdir()
    (held / ".new" / "x").write_text("half")
    (held / "channel" / "out").symlink_to(tmp_path / "secret")
    (held / "channel" / "folder").mkdir()
    os.mkfifo(held / "channel" / "pipe")
    return held


def test_every_file_of_a_repository_is_sent_whole(repo: Path) -> None:
    with running(str(repo)) as port:
        for name in (
            "channel/stable",
            "root/1",
            f"m/{ID}",
            f"o/ab/{ID}",
            f"d/0-{ID}",
            f"d/{ID}-{ID}",
            "history/stable/17",
        ):
            status, head, body = ask(port, f"/{name}")
            assert (status, body) == (200, (repo / name).read_bytes()), name
            assert head["Content-Length"] == str(len(body))
            cache = "max-age=30" if name.startswith("channel") else "max-age=31536000, immutable"
            assert head["Cache-Control"] == cache
        assert ask(port, f"/o/ab/{'0' * 64}")[0::2] == (200, b"")


def test_nothing_else_is(repo: Path) -> None:
    outside = [
        "/", "/channel", "/channel/", "/o/ab/", "/secret", "/../secret", "/channel/../secret", "/channel/..%2fsecret",
        "/channel/%2e%2e/secret", "//etc/passwd", "/channel//stable", "/.new/x", "/channel/out", "/channel/folder",
        "/channel/pipe", "/channel/none", f"/o/cd/{ID}", "/channel/stable/", "/channel/.stable", "/m/" + "AB" * 32,
        "/channel/stable%00", "/index.html",
    ]  # fmt: skip
    with running(str(repo)) as port:
        for path in outside:
            status, _, body = ask(port, path)
            assert status in (404, 500), path
            assert b"secret" not in body
            assert b"half" not in body


def test_head_says_what_get_would(repo: Path) -> None:
    with running(str(repo)) as port:
        for path in (f"/o/ab/{ID}", "/channel/stable"):
            got, head = ask(port, path), ask(port, path, "HEAD")
            assert head == (200, got[1], b"")
        assert ask(port, "/none", "HEAD")[0::2] == (404, b"")


def test_what_is_known_already_is_not_sent_again(repo: Path) -> None:
    with running(str(repo)) as port:
        for path in ("/channel/stable", f"/o/ab/{ID}"):
            tag = ask(port, path)[1]["ETag"]
            for asked in (tag, f'"x", {tag}', f"W/{tag}", "*"):
                status, head, body = ask(port, path, If_None_Match=asked)
                assert (status, body, head["ETag"]) == (304, b"", tag)
            assert ask(port, path, If_None_Match='"other"')[0] == 200


def test_a_new_channel_has_a_new_tag_and_the_same_one_elsewhere_the_same(repo: Path) -> None:
    with running(str(repo)) as port:
        first = ask(port, "/channel/stable")[1]["ETag"]
        at = (repo / "channel/stable").stat()
        (repo / "channel/new").write_bytes(b"thE channel")
        os.utime(repo / "channel/new", ns=(at.st_atime_ns, at.st_mtime_ns))
        os.rename(repo / "channel/new", repo / "channel/stable")
        assert ask(port, "/channel/stable", If_None_Match=first)[0::2] == (200, b"thE channel")
        (repo / "channel/copy").write_bytes(b"the channel")
        assert ask(port, "/channel/copy")[1]["ETag"] == first


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=1000-", 1000, 255_999), ("bytes=-5", 255_995, 255_999), ("bytes=255999-300000", 255_999, 255_999),
     ("bytes=-999999999", 0, 255_999)],
)  # fmt: skip
def test_a_part(repo: Path, asked: str, first: int, last: int) -> None:
    whole = (repo / f"o/ab/{ID}").read_bytes()
    with running(str(repo)) as port:
        status, head, body = ask(port, f"/o/ab/{ID}", Range=asked)
    assert (status, body) == (206, whole[first : last + 1])
    assert head["Content-Range"] == f"bytes {first}-{last}/256000"
    assert head["Content-Length"] == str(len(body))


def test_parts_that_are_not_there_or_not_understood(repo: Path) -> None:
    with running(str(repo)) as port:
        for asked in ("bytes=256000-", "bytes=-0", "bytes=9-5"):
            status, head, body = ask(port, f"/o/ab/{ID}", Range=asked)
            assert (status, body, head["Content-Range"]) == (416, b"", "bytes */256000"), asked
        for asked in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b", f"bytes=0-{'9' * 5000}"):
            status, _, body = ask(port, f"/o/ab/{ID}", Range=asked)
            assert (status, len(body)) == (200, 256_000), asked


def test_a_part_only_of_what_was_begun(repo: Path) -> None:
    with running(str(repo)) as port:
        tag = ask(port, f"/o/ab/{ID}")[1]["ETag"]
        assert ask(port, f"/o/ab/{ID}", Range="bytes=0-9", If_Range=tag)[0] == 206
        assert ask(port, f"/o/ab/{ID}", Range="bytes=0-9", If_Range='"older"')[0] == 200


def test_nothing_can_be_changed(repo: Path) -> None:
    with running(str(repo)) as port:
        for method in ("PUT", "POST", "DELETE", "PROPFIND"):
            assert ask(port, "/channel/stable", method)[0] == 501
    assert (repo / "channel/stable").read_bytes() == b"the channel"


def test_many_requests_go_by_one_connection_which_does_not_hold_back_small_answers(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    real = Handler.setup

    def setup(self: Handler) -> None:
        real(self)
        told.append(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(Handler, "setup", setup)
    with running(str(repo)) as port, closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as c:
        for _ in range(200):
            c.request("GET", f"/m/{ID}")
            answer = c.getresponse()
            assert (answer.status, len(answer.read())) == (200, 1000)
    assert told == [1]


def test_more_clients_than_threads_all_get_their_answer(repo: Path) -> None:
    with running(str(repo), most=2) as port:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(port, f"/o/ab/{ID}")[0])) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert answers == [200] * 20


def test_threads_are_bounded(repo: Path) -> None:
    before = {*threading.enumerate()}
    with running(str(repo), most=3) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
        held = silent[:3]
        for s in held:  # these three are being served
            s.sendall(f"GET /m/{ID} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert s.recv(12) == b"HTTP/1.1 200"
        assert len({*threading.enumerate()} - before) == 1 + 3
        for s in silent:
            s.close()


def test_a_client_that_goes_away_in_the_middle_hurts_nobody(repo: Path) -> None:
    (repo / f"o/ab/{ID}").write_bytes(bytes(5_000_000))
    with running(str(repo), most=1) as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(f"GET /o/ab/{ID} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                s.recv(10)
        assert ask(port, "/channel/stable")[0] == 200


def test_without_an_address_it_listens_on_both_kinds(repo: Path) -> None:
    with Server(str(repo), "", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        assert ask(server.server_port, "/root/1")[0] == 200
        if socket.has_dualstack_ipv6():
            with closing(http.client.HTTPConnection("::1", server.server_port, timeout=30)) as c:
                c.request("GET", "/root/1")
                assert c.getresponse().read() == b"root"
        server.shutdown()
        thread.join()


def test_what_master_published_is_served(master: Master) -> None:
    done = master.three()[2]
    with running(master.repository.path) as port:
        for name in ("channel/stable", "root/1", f"m/{done.id}"):
            with open(master.repository.file(name), "rb") as f:
                assert ask(port, f"/{name}")[2] == f.read()

"""A pull over HTTP: everything that servers, proxies and networks do to it."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.tools import needs, with_clock
from tests.world.release import server
from tests.world.release.node import COMMAND, Node, camera, fingerprint
from tests.world.release.publisher import Repo
from whiz.core.release.release import ReleaseError
from whiz.world.release import meter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.release.server import Web


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    held = Repo(tmp_path / "repo")
    held.publish(camera(1))
    return held


@pytest.fixture
def web(repo: Repo) -> Iterator[Web]:
    with server.serving(repo.path) as web:
        yield web


@pytest.fixture
def node(web: Web, tmp_path: Path) -> Node:
    return Node(tmp_path / "node", web.address)


def updated(repo: Repo, node: Node) -> None:
    """Have version 1 here and version 2 offered."""
    assert node.pull().did == "updated"
    repo.publish(camera(2))


def refused(node: Node) -> str:
    before = node.sound()
    with pytest.raises(ReleaseError) as caught:
        node.pull()
    assert node.sound() == before
    return str(caught.value)


def test_a_pull_and_one_with_nothing_to_do(repo: Repo, web: Web, node: Node, tmp_path: Path) -> None:
    updated(repo, node)
    assert node.pull().did == "updated"
    assert node.shown() == camera(2)
    assert web.connections < 12, "connections are kept"
    before = fingerprint(tmp_path)
    web.asked.clear()
    done = node.pull()
    assert (done.did, done.code, done.fetched) == ("nothing", 0, 0)
    assert web.asked == ["/channel/stable"]
    assert web.headers[-1]["if-none-match"]
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("how", ["none", "weak", "changing", "date"])
def test_tags_that_cannot_be_relied_on(how: str, repo: Repo, web: Web, node: Node) -> None:
    tags = iter(range(1000))

    def answer(request: server.Request) -> None:
        said = {"weak": 'W/"1"', "changing": f'"{next(tags)}"'}.get(how)
        more: dict[str, object] = {"ETag": said} if said else {}
        more |= {"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"} if how == "date" else {}
        request.send("200 OK", request.body or b"", **more)

    web.rule("/channel/", answer)
    assert node.pull().did == "updated"
    before = fingerprint(node.app)
    assert node.pull().did == node.pull().did == "nothing"
    assert fingerprint(node.app) == before
    repo.publish(camera(2))
    assert node.pull().did == "updated"


def test_a_bit_flipped_on_the_way_is_fetched_again_past_caches(repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    path = f"/o/{repo.object(camera(2)['lib/changing.py']).parent.name}/"
    web.rule(path, server.flipped, 1)
    assert node.pull().did == "updated"
    again = [h["cache-control"] for a, h in zip(web.asked, web.headers, strict=True) if path in a and "?again=" in a]
    assert again == ["no-cache"]
    assert node.shown() == camera(2)


def test_a_bit_that_is_always_flipped(repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    held = repo.object(camera(2)["lib/changing.py"])
    web.rule(f"/o/{held.parent.name}/{held.name}", server.flipped)
    said = refused(node)
    assert held.name in said
    assert web.address in said
    web.rules.clear()
    assert node.pull().did == "updated"


BIG = random.Random(1).randbytes(600_000)


def test_a_transfer_that_breaks_off_goes_on_where_it_was(repo: Repo, web: Web, node: Node) -> None:
    name = repo.publish({"big": BIG})
    web.rule(f"/o/{repo.object(BIG).parent.name}/", server.truncated(250_000), 2)
    assert node.pull().did == "updated"
    assert node.sound() == name
    ranges = [h.get("range") for a, h in zip(web.asked, web.headers, strict=True) if repo.object(BIG).name in a]
    assert ranges == [None, "bytes=250000-", "bytes=500000-"]


def test_a_server_without_ranges_sends_it_again(repo: Repo, web: Web, node: Node) -> None:
    name = repo.publish({"big": BIG})
    part = f"/o/{repo.object(BIG).parent.name}/"
    web.rule(part, server.truncated(250_000), 1)
    web.rule(part, lambda r: r.plain(ranges=False))
    assert node.pull().did == "updated"
    assert node.sound() == name


def test_an_object_cut_short_without_a_length(repo: Repo, web: Web, node: Node) -> None:
    repo.publish({"big": BIG})
    web.rule("/o/", server.unannounced(1000))
    assert "ends too soon" in refused(node)


@pytest.mark.parametrize("part", ["/o/", "/m/", "/channel/", "/root/"])
def test_a_body_without_end(part: str, web: Web, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from whiz.core.release import release as releases

    monkeypatch.setattr(releases, "MOST", 1_000_000)
    web.rule(part, server.endless)
    said = refused(node)
    assert "behind its end" in said or "longer than" in said or "was announced" in said


@pytest.mark.parametrize("part", ["/o/", "/channel/"])
def test_a_slow_drip_is_bounded(part: str, repo: Repo, web: Web, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "SPAN", 0.2)
    monkeypatch.setattr(meter.Meter.__init__, "__defaults__", (0.2,))
    repo.publish({"x": b"y" * 10000, "z": BIG})
    web.rule(part, server.dripping)
    assert "too slow" in refused(node)


def test_silence_is_bounded(web: Web, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "SILENCE", 0.2)
    web.rule("/m/", server.silent)
    assert "timed out" in refused(node)


def test_nobody_listens_no_such_host_and_a_black_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whiz.world.release import web as module

    monkeypatch.setattr(module, "_DIALS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        held = [socket.socket() for _ in range(4)]  # then the kernel drops what comes
        for s in held:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        node = Node(tmp_path / "node", "http://127.0.0.1:1", "http://no-such-host.invalid", f"http://127.0.0.1:{port}")
        node.store.make()
        said = refused(node)
        for s in held:
            s.close()
    assert "Connection refused" in said
    assert "no-such-host.invalid: cannot be asked: " in said
    assert "timed out" in said
    assert len(node.slept) == 6
    assert node.slept == sorted(node.slept) or max(node.slept) < 3, "it waits a little longer each time"


@pytest.mark.parametrize("after", ["7", "1000000000", "Wed, 21 Oct 2105 07:28:00 GMT", "soon", ""])
def test_a_server_that_wants_to_be_left_alone(after: str, repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    said = "429 Too Many Requests" if after == "7" else "503 Service Unavailable"
    web.rule("/m/", server.status(said, Retry_After=after), 1)
    if after in ("7", "soon", ""):
        assert node.pull().did == "updated"
        assert (7 in node.slept) == (after == "7")
    else:
        assert "503" in refused(node)
        assert node.slept == [], "there is no patience for that; the next pull asks again"
        assert node.pull().did == "updated"


def test_404_of_what_was_just_published(repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    held = repo.object(camera(2)["lib/changing.py"])
    web.rule(held.name, server.status("404 Not Found"))
    said = refused(node)
    assert f"has no o/{held.parent.name}/{held.name}" in said
    asked = [a for a in web.asked if held.name in a]
    assert len(asked) == 2, "once more, past caches"
    assert "?again=" in asked[1]
    web.rules.clear()
    web.asked.clear()
    assert node.pull().did == "updated"
    assert len([a for a in web.asked if "/o/" in a]) <= 3, "what was fetched before is not fetched again"


def test_a_captive_portal(repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    web.rule("", server.status("200 OK", b"<html><h1>Please log in</h1></html>", ETag='"x"'))
    assert "does this network ask for a login?" in refused(node)


@pytest.mark.parametrize("part", ["/m/", "/o/", "/root/"])
def test_a_captive_portal_that_comes_up_amid_a_pull(part: str, repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    web.rule(part, server.status("200 OK", b"\n<!DOCTYPE html><h1>Please log in</h1>", ETag='"x"'))
    said = refused(node)
    assert "does this network ask for a login?" in said
    assert web.address in said
    web.rules.clear()
    assert node.pull().did == "updated"
    assert node.shown() == camera(2)


def test_a_captive_portal_that_redirects_to_its_own_page(repo: Repo, web: Web, node: Node) -> None:
    updated(repo, node)
    web.rule("/login", server.status("200 OK", b"<html><h1>Please log in</h1></html>"))
    web.rule("", server.status("302 Found", Location=f"{web.address}/login"))
    assert "does this network ask for a login?" in refused(node)
    web.rules.clear()
    assert node.pull().did == "updated"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_that_lead_to_the_file(code: int, web: Web, node: Node) -> None:
    def lead(request: server.Request) -> None:
        request.send(f"{code} Moved", Location=f"/elsewhere{request.path}")

    def there(request: server.Request) -> None:
        request.body = web.body(request.path.removeprefix("/elsewhere"))
        request.plain()

    web.rule("/elsewhere", there)
    web.rule("/", lead)
    assert node.pull().did == "updated"
    assert node.shown() == camera(1)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("file:///etc/passwd", "which is no web server"),
        ("ftp://host/x", "which is no web server"),
        ("gopher:x", "which is no web server"),
        ("http://[::1", "which is no web server"),
        ("/channel/stable", "leads in a circle"),
    ],
)
def test_redirects_that_lead_nowhere(location: str, why: str, web: Web, node: Node) -> None:
    node.store.make()
    web.rule("/channel/", server.status("302 Found", Location=location))
    assert why in refused(node)
    assert len(web.asked) <= 12


@pytest.fixture
def authority(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """Make a certificate that vouches for itself, for 127.0.0.1."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert)]
    words += ["-days", "2"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return str(cert), context


@needs("openssl")
def test_https_by_a_certificate_of_ones_own(repo: Repo, authority: tuple[str, ssl.SSLContext], tmp_path: Path) -> None:
    cert, context = authority
    with server.serving(repo.path, context) as web:
        stranger = Node(tmp_path / "stranger", web.address)
        stranger.store.make()
        assert "its certificate is not trusted: self-signed certificate" in refused(stranger)
        node = Node(tmp_path / "node", web.address, ca=cert)
        assert node.pull().did == "updated"
        assert node.pull().did == "nothing"
        web.rule("/channel/", server.status("302 Found", Location="http://127.0.0.1/channel/stable"))
        assert "redirects from https to http://127.0.0.1/channel/stable" in refused(node)
        lost = Node(tmp_path / "lost", web.address, ca=str(tmp_path / "no.pem"))
        lost.store.make()
        assert "no.pem: No such file" in refused(lost)


@needs("openssl")
@needs("faketime")
def test_a_clock_of_1970_does_not_stop_https(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL goes by its own clock; a certificate that has expired stands in for one that is not yet valid."""
    cert, key = tmp_path / "old.pem", tmp_path / "old.key"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key)]
    words += ["-out", str(cert), "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    assert with_clock("-10d", *words).returncode == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with server.serving(repo.path, context) as web:
        node = Node(tmp_path / "node", web.address, ca=str(cert))
        node.store.make()
        assert "certificate has expired" in refused(node)
        monkeypatch.setattr(time, "time", lambda: 1000.0)
        done = node.pull(now=lambda: 1000.0)
        assert (done.did, done.code) == ("updated", 3)
        assert any("this clock" in w for w in done.warnings)


def test_ipv6(repo: Repo, tmp_path: Path) -> None:
    with server.serving(repo.path, host="::1") as web:
        assert Node(tmp_path / "node", web.address).pull().did == "updated"


def test_a_proxy_from_the_environment(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.address)
    node = Node(tmp_path / "node", "http://master.example")
    assert node.pull().did == "updated"
    assert web.asked[0] == "http://master.example/channel/stable"
    assert web.headers[0]["host"] == "master.example"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert Node(tmp_path / "near", web.address).pull().did == "updated"


# -- packs


def test_a_full_pack_on_a_new_node_and_a_small_one_later(repo: Repo, web: Web, node: Node) -> None:
    first = repo.publish(camera(1), "packed")
    repo.pack(first, camera(1))
    node.pull()
    assert not [a for a in web.asked if "/o/" in a]
    assert node.shown() == camera(1)
    tree = camera(2) | {f"new/{i}": f"{i}".encode() for i in range(5)}
    new = repo.publish(tree)
    repo.pack(new, {p: d for p, d in tree.items() if camera(1).get(p) != d and isinstance(d, (bytes, tuple))}, first)
    web.asked.clear()
    node.pull()
    assert node.shown() == tree
    assert [a for a in web.asked if "/o/" in a or "/d/" in a] == [f"/d/{first}-{new}"]


@pytest.mark.parametrize("how", ["flipped", "truncated", "other", "rubbish", "500"])
def test_a_pack_that_is_not_as_it_should_be_costs_only_time(how: str, repo: Repo, web: Web, node: Node) -> None:
    first = repo.publish(camera(1), "packed")
    repo.pack(first, camera(1) if how != "other" else dict.fromkeys(camera(1), b"else"))
    do = {
        "flipped": server.flipped,
        "truncated": server.truncated(200),
        "other": lambda r: r.plain(),
        "rubbish": server.status("200 OK", b"no pack"),
        "500": server.status("500 Internal Server Error"),
    }[how]
    web.rule("/d/", do)
    done = node.pull()
    assert done.did == "updated"
    assert how == "other" or done.warnings
    assert node.shown() == camera(1)
    node.sound()


# -- the process


def test_sigterm_amid_a_download_and_nothing_is_fetched_twice(repo: Repo, web: Web, node: Node) -> None:
    repo.publish({"big": BIG, **{f"small/{i}": f"{i}".encode() for i in range(20)}})
    node.write()
    hanging = []

    def hang(request: server.Request) -> None:
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + (request.body or b"")[:1000])
        hanging.append(request)
        time.sleep(60)

    web.rule(repo.object(BIG).name, hang, 1)
    process = subprocess.Popen([*COMMAND, "pull", "--home", str(node.path)], stderr=subprocess.PIPE)
    end = time.monotonic() + 30
    while not hanging or len([a for a in web.asked if "/o/" in a]) < 21:
        assert time.monotonic() < end
        time.sleep(0.01)
    stage = node.app / "staging"
    while len([p for p in stage.rglob("*") if p.is_file() and p.suffix != ".part"]) < 20:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    assert process.stderr is not None
    process.stderr.close()
    web.asked.clear()
    done = node.run("pull")
    assert done.returncode == 0, done.stderr
    assert [a for a in web.asked if "/o/" in a] == [f"/o/{repo.object(BIG).parent.name}/{repo.object(BIG).name}"]


def test_a_large_file_takes_little_memory(repo: Repo, node: Node) -> None:
    size = 96 << 20
    repo.publish({"big": bytes(size)})
    node.write()
    code = "import sys; from whiz.face.quesofiesta.cli import main; code = main(sys.argv[1:]); "
    code += "print(*[w for w in open('/proc/self/status') if 'VmHWM' in w]); sys.exit(code)"
    words = [sys.executable, "-c", code, "pull", "--home", str(node.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-2]) < 80_000, "kB at its peak"
    assert os.path.getsize(node.app / "current/big") == size

"""A pull that finds all as it was: one question. It says so only when the whole pull would."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.tools import needs
from tests.world.release import server
from tests.world.release.node import COMMAND, Node, camera, fingerprint
from tests.world.release.publisher import Repo
from whiz.core.release import trial
from whiz.world.home import home
from whiz.world.release.quick import unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.world.release.server import Request, Web

WORDS = "r1 runs, as it should"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    repo = Repo(tmp_path / "repo")
    repo.publish(camera(1))
    with server.serving(repo.path) as web:
        yield web


def settled(path: Path, *mirrors: str, **settings: str) -> Node:
    """Return a node that has nothing to do, and knows it."""
    node = Node(path, *mirrors, **settings)
    node.write()
    assert node.run("pull").returncode == 0
    assert node.run("pull").stdout == f"{WORDS}\n"
    return node


def quick(node: Node, after: float = 0.0) -> str | None:
    here = home(str(node.path))
    return unchanged(here.config, here.run, here.state, time.time() + after)


def test_one_question_and_nothing_is_written_nor_parsed(web: Web, tmp_path: Path) -> None:
    node = settled(tmp_path / "node", web.address)
    asked, before = len(web.asked), fingerprint(tmp_path)
    trace = tmp_path.parent / f"{tmp_path.name}.trace"
    words = ["strace", "-f", "-e", "trace=openat,write,socket", "-o", str(trace), *COMMAND]
    done = subprocess.run([*words, "pull", "--home", str(node.path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{WORDS}\n"
    assert len(web.asked) == asked + 1
    assert fingerprint(tmp_path) == before
    opened = trace.read_text()
    trace.unlink()  # it lies beside the test's own directory, which is compared
    assert "quesofiesta.yaml" not in opened
    assert "argparse" not in opened
    assert "camera.json" in opened
    assert node.run("pull", "-q").stdout == ""
    assert node.run("pull", "--json").stdout.startswith("{")


@needs("openssl")
def test_it_asks_each_kind_of_mirror_that_can_be_asked_quickly(web: Web, tmp_path: Path) -> None:
    assert quick(settled(tmp_path / "web", web.address)) == WORDS
    assert quick(settled(tmp_path / "disk", f"file://{web.root}")) == WORDS
    with server.serving(web.root, host="::1") as six:
        assert quick(settled(tmp_path / "six", six.address)) == WORDS
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(
        [*words, "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with server.serving(web.root, context) as secure:
        node = settled(tmp_path / "secure", secure.address, ca=str(cert))
        assert quick(node) == WORDS
        cert.write_text("")
        assert quick(node) is None


def test_ctrl_c_while_the_mirror_is_silent(web: Web, tmp_path: Path) -> None:
    node = settled(tmp_path / "node", web.address)
    asked = threading.Event()

    def silent(request: Request) -> None:
        asked.set()
        request.sock.recv(1)

    web.rule("channel", silent)
    pull = subprocess.Popen([*COMMAND, "pull", "--home", str(node.path)], stderr=subprocess.PIPE, text=True)
    assert asked.wait(30)
    pull.send_signal(signal.SIGINT)
    assert pull.communicate(timeout=30)[1] == "quesofiesta: interrupted\n"
    assert pull.returncode == 130


def touched(node: Node, _web: Web) -> None:
    os.utime(node.path / "quesofiesta.yaml")


def named(node: Node, _web: Web) -> None:
    (node.path / "node.yaml").write_text("name: attic\n")


def published(_node: Node, web: Web) -> None:
    Repo(web.root).put("channel/stable", b"another")


def on_trial(node: Node, _web: Web) -> None:
    state = node.store.state()
    node.store.save(trial.begun(state, "0" * 64, "r2", None))


def forgotten(node: Node, _web: Web) -> None:
    (node.app / "state.json").write_text("[")


def turned(node: Node, _web: Web) -> None:
    node.store.point("current", "0" * 64)


def gone(node: Node, _web: Web) -> None:
    (node.app / "releases").rename(node.app / "elsewhere")


def failed(node: Node, _web: Web) -> None:
    node.here().notes.failed(0.0, "it rained")


def torn(node: Node, _web: Web) -> None:
    (node.path / "run/quesofiesta/camera.json").write_text('{"settled": {"stamp": 3}}')


def another_app(node: Node, _web: Web) -> None:
    (node.path / "run/quesofiesta/other.json").write_text("{}")


def answers(do: Callable[[Request], object]) -> Callable[[Node, Web], None]:
    return lambda _node, web: web.rule("channel", do)


@pytest.mark.parametrize(
    "happens",
    [
        *(touched, named, published, on_trial, forgotten, turned, gone, failed, torn, another_app),
        answers(lambda r: r.send("200 OK", b"<html>Please log in</html>")),
        answers(lambda r: r.send("302 Found", Location="http://127.0.0.1:1/")),
        answers(lambda r: r.send("503 Service Unavailable")),
        answers(lambda r: r.sock.sendall(b"304\r\n\r\n")),
        answers(lambda r: r.sock.sendall(b"HTTP/1.1 304 Not Mod")),
        answers(lambda r: r.sock.sendall(b"HTTP/1.1 304 N\r\n" + b"x" * 70000)),
    ],
)
def test_at_the_slightest_doubt_the_whole_pull_is_made(
    happens: Callable[[Node, Web], None], web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whiz.world.release.quick.SECONDS", 1.0)
    node = settled(tmp_path / "node", web.address)
    assert quick(node) == WORDS
    happens(node, web)
    assert quick(node) is None


def test_time_proxies_other_mirrors_and_another_pull(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quick(settled(tmp_path / "second", f"file://{tmp_path}/unplugged", web.address)) is None
    node = settled(tmp_path / "node", web.address)
    assert quick(node, after=57 * 86400.0) is None, "stale is for the whole pull to say"
    assert quick(node, after=-86400.0) is None
    lock = node.store.lock()
    assert quick(node) is None
    assert node.run("pull").returncode == 75
    os.close(lock)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert quick(node) is None
    monkeypatch.delenv("http_proxy")
    assert quick(node) == WORDS
    web.tags = False
    assert node.run("pull").returncode == 0
    assert quick(node) is None

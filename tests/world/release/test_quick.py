"""The quick end of a pull with nothing to do: it decides "unchanged", and nothing else; nothing heavy is loaded for it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.tools import needs
from tests.world.release import server
from tests.world.release.node import Node, camera, fingerprint
from tests.world.release.publisher import Repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.world.release.server import Request, Web

HEAVY = ("argparse", "http.client", "yaml", "ssl", "urllib.parse", "whiz.world.release.pull")
CODE = """\
import json, sys
from whiz.face.quesofiesta.cli import main
code = main(sys.argv[2:])
print(json.dumps([m for m in json.loads(sys.argv[1]) if m in sys.modules]), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    held = Repo(tmp_path / "repo")
    held.publish(camera(1), "one")
    return held


@pytest.fixture
def web(repo: Repo) -> Iterator[Web]:
    with server.serving(repo.path) as web:
        yield web


@pytest.fixture
def node(web: Web, tmp_path: Path) -> Node:
    return pulled(tmp_path, web.address)


def pulled(tmp_path: Path, *mirrors: str, **settings: Any) -> Node:
    """Return a node that has what the mirrors offer."""
    node = Node(tmp_path / "node", *mirrors, **settings)
    node.write()
    node.pull()  # without a gate, which would take its time; what the command finds afterwards is settled
    done = node.run("pull")
    assert done.returncode == 0, done.stderr
    return node


def loaded(node: Node, *more: str) -> tuple[int, str, list[str]]:
    """Pull; return exit status, stdout, and which heavy modules that took."""
    words = [sys.executable, "-P", "-c", CODE, json.dumps(HEAVY), "pull", "--home", str(node.path), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    return done.returncode, done.stdout, json.loads(lines[-1])


def quick(node: Node) -> bool:
    """Whether a pull ends quickly; it says the same whether it does or not."""
    code, said, heavy = loaded(node)
    assert (code, said) == (0, node.run("pull", "--verbose").stdout)
    return not heavy


def test_one_request_nothing_written_nothing_loaded(node: Node, web: Web, tmp_path: Path) -> None:
    before = fingerprint(tmp_path)
    web.asked.clear()
    assert loaded(node) == (0, "one runs, as it should\n", [])
    assert loaded(node, "-q") == (0, "", [])
    assert web.asked == ["/channel/stable"] * 2
    assert fingerprint(tmp_path) == before
    assert quick(node)


def test_a_directory_as_the_mirror(repo: Repo, tmp_path: Path) -> None:
    node = pulled(tmp_path, f"file://{repo.path}")
    before = fingerprint(tmp_path)
    assert loaded(node) == (0, "one runs, as it should\n", [])
    assert fingerprint(tmp_path) == before
    repo.publish(camera(2), "two")
    assert loaded(node)[1].splitlines()[-1] == "two runs now"
    assert quick(node)


@pytest.mark.parametrize("words", [("--json",), ("--dry-run",), ("--force",), ("--verbose",), ("--wait", "1s")])
def test_other_words_are_for_the_pull_itself(node: Node, words: tuple[str, ...]) -> None:
    assert "argparse" in loaded(node, *words)[2]


def test_a_proxy_is_for_the_pull_itself(node: Node, web: Web) -> None:
    web.asked.clear()
    done = node.run("pull", env={**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""})
    assert (done.returncode, web.asked) == (1, [])


def garbage(request: Request) -> None:
    request.sock.sendall(b"HTTP/1.1 3040 Not Modified\r\n\r\n")
    request.sock.close()


def cut(request: Request) -> None:
    request.sock.sendall(b"HTTP/1.1 304 Not Modified\r\nETag: ")
    request.sock.close()


def again(request: Request) -> None:
    request.send("200 OK", request.body or b"")


@pytest.mark.parametrize("do", [garbage, cut, again])
def test_any_other_answer_is_asked_for_again(do: Callable[[Request], object], node: Node, web: Web) -> None:
    web.rule("/channel/", do, 1)
    code, said, heavy = loaded(node)
    assert (code, said) == (0, "one runs, as it should\n")
    assert "whiz.world.release.pull" in heavy


def test_a_new_release_arrives(node: Node, repo: Repo) -> None:
    repo.publish(camera(2), "two")
    code, said, _ = loaded(node)
    assert (code, said.splitlines()[-1]) == (0, "two runs now")
    assert node.shown() == camera(2)
    assert quick(node)


def test_what_changed_here_is_looked_at(node: Node) -> None:
    (node.path / "node.yaml").write_text("roles: [cams]\n")
    assert "whiz.world.release.pull" in loaded(node)[2]
    assert quick(node)
    state = node.app / "state.json"
    state.write_text(state.read_text())  # even if it says the same
    assert "whiz.world.release.pull" in loaded(node)[2]
    (node.path / "quesofiesta.yaml").write_text("app: [\n")
    assert loaded(node)[0] == 2
    node.write()
    current = node.store.pointed("current")
    assert loaded(node)[0] == 0
    assert quick(node)
    os.rename(node.app / "releases" / str(current), node.app / "gone")
    done = node.run("pull")
    assert "is gone" in done.stderr
    assert node.sound() == current


def test_another_pull_at_work(node: Node) -> None:
    lock = node.store.lock()
    try:
        done = node.run("pull")
    finally:
        os.close(lock)
    assert (done.returncode, done.stdout) == (75, "")


@pytest.mark.parametrize("past", [True, False])
def test_a_stale_channel_is_said_each_time(past: bool, repo: Repo, web: Web, tmp_path: Path) -> None:
    now = int(time.time())
    times = {"issued": now - 200, "expires": now - 100} if past else {"issued": now + 864000, "expires": now + 999999}
    repo.offer(repo.release(camera(1)), "one", **times)
    node = Node(tmp_path / "node", web.address)
    node.write()
    for _ in range(3):
        done = node.run("pull")
        assert done.returncode == 3
        assert "is stale" in done.stderr


def test_the_second_mirror_is_not_asked_in_place_of_the_first(web: Web, tmp_path: Path) -> None:
    node = Node(tmp_path / "node", "file:///nowhere/at/all", web.address)
    node.write()
    assert node.run("pull").returncode == 0
    assert "whiz.world.release.pull" in loaded(node)[2]


def test_ipv6(repo: Repo, tmp_path: Path) -> None:
    with server.serving(repo.path, host="::1") as web:
        assert loaded(pulled(tmp_path, web.address)) == (0, "one runs, as it should\n", [])


@needs("openssl")
def test_https_by_a_certificate_of_ones_own(repo: Repo, tmp_path: Path) -> None:
    """And by none that is trusted it is no answer, whatever the server says."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert)]
    words += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with server.serving(repo.path, context) as web:
        node = pulled(tmp_path, web.address, ca=str(cert))
        web.asked.clear()
        assert loaded(node)[1:] == ("one runs, as it should\n", ["ssl"])
        assert web.asked == ["/channel/stable"]
        cert.unlink()
        assert loaded(node)[0] == 1
        assert web.asked == ["/channel/stable"]

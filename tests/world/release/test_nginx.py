"""A repository is a plain directory: nginx, as Debian has it, hands it out as it is."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.tools import needs
from tests.world.release.conftest import contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.release.conftest import Master

CONFIG = """\
daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;
  uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
  server {{
    listen unix:{at}/socket;
    root {repo};
    location / {{ add_header Cache-Control "public, max-age=31536000, immutable"; }}
    location /channel/ {{ add_header Cache-Control "max-age=30"; }}
    location ~ /\\. {{ return 404; }}
  }}
}}
"""


class Connection(http.client.HTTPConnection):
    """HTTP through a socket file: no port is free for sure until somebody listens there."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def ask(path: Path, name: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(Connection(path)) as c:
        c.request("GET", name, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = c.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def nginx(master: Master, tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "nginx"
    at.mkdir()
    (at / "conf").write_text(CONFIG.format(at=at, repo=master.repository.path))
    running = subprocess.Popen(["nginx", "-e", "stderr", "-c", at / "conf"], stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    try:
        while True:
            try:
                ask(at / "socket", "/")
                break
            except OSError:
                assert running.poll() is None, running.stderr.read()
                time.sleep(0.02)
        yield at / "socket"
    finally:
        running.terminate()
        running.wait()
        running.stderr.close()


@needs("nginx")
def test_nginx_hands_a_repository_out(master: Master, nginx: Path) -> None:
    done = master.three()[2]
    for name, (kind, data) in contents(master.repository.path).items():
        if kind == "file":
            assert ask(nginx, f"/{name}")[0::2] == (200, data), name
    status, head, _ = ask(nginx, "/channel/stable")
    assert head["Cache-Control"] == "max-age=30"
    assert ask(nginx, "/channel/stable", If_None_Match=head["ETag"])[0] == 304
    status, _, body = ask(nginx, f"/m/{done.id}", Range="bytes=5-9")
    assert status == 206
    with open(master.repository.file(f"m/{done.id}"), "rb") as f:
        assert body == f.read()[5:10]
    assert ask(nginx, "/o/")[0] == 403, "no listing"
    master.put("new", "new")
    master.publish()
    assert ask(nginx, "/channel/stable", If_None_Match=head["ETag"])[0] == 200

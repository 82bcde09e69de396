"""What 100,000 nodes that poll one nginx ask of it: measured on a slice of them, and what follows for all.

The nodes are coroutines in a network namespace, with connections of their own as real ones have; the repository and
nginx are real. Time runs faster: a poll every few seconds instead of every 5 minutes. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ground
from node import DOCS, facts, install
from polled import Cost, Heard, report
from release import nginx
from trees import Source

LANES = 8  # connections at once
KINDS = ("304", "channel", "release", "pack")


@dataclass(frozen=True)
class Effort:
    """How much: nodes of each slice, s between polls of a node and s of a slice, requests of each kind, files."""

    slices: tuple[int, ...] = (250, 500, 1_000, 2_000)
    poll: float = 5.0
    seconds: float = 15.0
    each: int = 10_000
    files: int = 1_000


QUICK = Effort((20, 40), 1.0, 3.0, 200, 200)


def main() -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(prog="bench polls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 nodes for 2 s; write to a temporary directory")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return _inside(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    ground.needed("nginx")
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        install(room)
        return ground.inside(__file__, [room, *(["--quick"] if args.quick else [])])


def _inside(args: argparse.Namespace) -> int:
    effort = QUICK if args.quick else Effort()
    place = tempfile.mkdtemp(prefix="whiz-bench-report-") if args.quick else DOCS
    began, load = time.strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]
    memory = f"{args.inside}/memory"
    os.mkdir(memory)
    ground.prepare(memory)
    node = ground.host(2, ground.NODE, master="")
    names, sizes = _repository(f"{args.inside}/venv/bin/quesofiesta", memory, effort.files)
    server = nginx(memory, f"{memory}/repo")
    each = {kind: _each(node, kind, names, effort.each, server.pid) for kind in KINDS}
    slices = {n: _slice(node, n, names, effort, server.pid) for n in effort.slices}
    held = [*facts(began), f"- bytes: {', '.join(f'{kind} {size:,}' for kind, size in sizes.items() if kind != '304')}"]
    held.append(f"- load average before and after: {load:.1f}, {os.getloadavg()[0]:.1f}")
    text = report(held, each, slices, effort.poll)
    Path(f"{place}/polls.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {os.path.relpath(place)}")
    return 0


def _repository(command: str, memory: str, files: int) -> tuple[dict[str, str], dict[str, int]]:
    """Publish a release, and the next with a hundredth of its files changed; return what is asked for, and sizes."""
    keys = ("--keys", f"{memory}/keys")

    def run(*words: str) -> dict[str, object]:
        done = subprocess.run([command, *words, *keys, "--json"], check=True, capture_output=True, text=True)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    run("init", f"{memory}/repo", "--app", "bench")
    source = Source(f"{memory}/source", files, files * 33_000)
    for _ in range(2):
        run("publish", source.path, "--repo", f"{memory}/repo")
        source.change(files // 100)
    pack = os.listdir(f"{memory}/repo/d")[0]
    names = {"304": "channel/stable", "channel": "channel/stable", "pack": f"d/{pack}"}
    names["release"] = f"m/{pack.rpartition('-')[2]}"
    return names, {kind: os.path.getsize(f"{memory}/repo/{name}") for kind, name in names.items()}


# -- nodes


async def ask(names: dict[str, str], kinds: list[str], tag: str) -> tuple[list[int], str]:
    """Ask for these over one connection, as a pull does; return the answers' status, and the channel's tag."""
    reader, writer = await asyncio.open_connection(ground.MASTER, 80)
    said = []
    for kind in kinds:
        known = f"If-None-Match: {tag}\r\n" if tag and kind == "304" else ""
        head = f"GET /{names[kind]} HTTP/1.1\r\nHost: {ground.MASTER}\r\nAccept-Encoding: identity\r\n"
        writer.write(f"{head}User-Agent: quesofiesta/0.1.0\r\n{known}\r\n".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = int(answer[9:12])
        said.append(status)
        size = re.search(r"(?i)content-length: (\d+)", answer)
        if status == 200 and size:  # noqa: PLR2004  OK
            await reader.readexactly(int(size[1]))
        if names[kind] == names["304"] and (found := re.search(r"(?i)etag: (\S+)", answer)):
            tag = found[1]
    writer.close()
    await writer.wait_closed()
    return said, tag


async def _polling(names: dict[str, str], poll: float, end: float, heard: Heard) -> None:
    """Be one node: wait 0.5 to 1.5 times as long as it is told, ask; what is new is fetched."""
    tag = ""
    await asyncio.sleep(random.uniform(0, poll))  # noqa: S311  as a node after its boot
    while (now := time.monotonic()) < end:
        said, tag = await ask(names, ["304"], tag)
        if said == [200]:
            more, _ = await ask(names, ["release", "pack"], tag)
            said += more
        heard.kinds.update(str(s) for s in said)
        heard.at.append(now)
        heard.took.append(time.monotonic() - now)
        await asyncio.sleep(poll * random.uniform(0.5, 1.5))  # noqa: S311  jitter


async def _slicing(n: int, names: dict[str, str], effort: Effort) -> Heard:
    heard, end = Heard(), time.monotonic() + effort.seconds
    await asyncio.gather(*(_polling(names, effort.poll, end, heard) for _ in range(n)))
    return heard


async def _asking(kind: str, names: dict[str, str], times: int) -> None:
    _, tag = await ask(names, ["channel"], "")

    async def lane(count: int) -> None:
        for _ in range(count):
            said, _ = await ask(names, [kind], tag)
            if said != [304 if kind == "304" else 200]:
                raise SystemExit(f"bench: {kind}: nginx answers {said}")

    await asyncio.gather(*(lane(times // LANES) for _ in range(LANES)))


def _on(node: str, words: tuple[object, ...]) -> Heard | None:
    """Run coroutines on the node's network; a process of its own, because a network is its whole process's."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_there, args=(node, words, there))
    process.start()
    there.close()
    try:
        found: Heard | None = here.recv()
    except EOFError as exc:
        raise SystemExit("bench: the nodes have failed") from exc
    process.join()
    return found


def _there(node: str, words: tuple[object, ...], to: multiprocessing.connection.Connection) -> None:
    import ctypes  # noqa: PLC0415  here alone

    fd = os.open(f"/run/netns/{node}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:  # CLONE_NEWNET; os.setns is Python 3.12's
        raise OSError(ctypes.get_errno(), "setns")
    to.send(asyncio.run(words[0](*words[1:])))  # type: ignore[operator]


def _costs(node: str, server: int, words: tuple[object, ...], requests: int = 0) -> tuple[Cost, Heard | None]:
    wire, cpu, begin = ground.wire(2), _cpu(server), time.perf_counter()
    heard = _on(node, words)
    took = time.perf_counter() - begin
    asked = requests or (sum(heard.kinds.values()) if heard else 0)
    return Cost(asked, took, ground.wire(2) - wire, _cpu(server) - cpu), heard


def _each(node: str, kind: str, names: dict[str, str], times: int, server: int) -> Cost:
    wanted = times // (4 if kind == "pack" else 1) // LANES * LANES
    return _costs(node, server, (_asking, kind, names, wanted), wanted)[0]


def _slice(node: str, n: int, names: dict[str, str], effort: Effort, server: int) -> tuple[Cost, Heard]:
    cost, heard = _costs(node, server, (_slicing, n, names, effort))
    assert heard is not None  # noqa: S101  nodes hear
    print(f"bench: {time.strftime('%H:%M:%S')} {n} nodes polled", flush=True)
    return cost, heard


def _cpu(server: int) -> float:
    """Return the seconds that nginx's worker has had."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()
    held = [Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0] for pid in children]
    return sum(int(ns) for ns in held) / 1e9


if __name__ == "__main__":
    sys.exit(main())

"""Which supervisor does what, when it matters: one list of behaviours, tried with each, from outside.

A report: a peer that fails a row is no error. Exit code 1 says that whiz did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from behaviours import BEHAVIOURS
from keepers import Whiz
from keepers_more import KEEPERS
from node import DOCS, commit, facts, install
from processes import adopt, beneath, end
from resident import in_memory, installed, tell
from trial import Trial
from verdict import LACKS, ODD, PASS, Verdict
from words import section, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keepers import Keeper

LONGEST = 600  # s for one behaviour of one supervisor

Found = dict[tuple[str, str], Verdict]


def main() -> int:
    """Try everything and write the report."""
    if sys.argv[1:2] == ["--one"]:
        return one(*sys.argv[2:])
    parser = argparse.ArgumentParser(prog="bench conformance", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; write to a temporary directory")
    parser.add_argument("--only", default="", metavar="NAMES", help="just these supervisors: whiz,s6; as --quick")
    parser.add_argument("--behaviour", default="", metavar="KEYS", help="just these rows; as --quick")
    parser.add_argument("--room", default="", metavar="DIR", help="install peers there, and leave them for next time")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="trials at a time (default: 2)")
    args = parser.parse_args()
    only, keys = _listed(parser, args.only, _names()), _listed(parser, args.behaviour, [b.key for b in BEHAVIOURS])
    part = bool(args.quick or only or keys)
    place = tempfile.mkdtemp(prefix="whiz-bench-report-") if part else DOCS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    began = time.strftime("%Y-%m-%d %H:%M")
    adopt()
    with (
        tempfile.TemporaryDirectory(prefix="whiz-bench-") as lent,
        in_memory() as memory,
        contextlib.ExitStack() as last,
    ):
        last.callback(end)
        whiz = install(lent)[1]
        wanted = [k for k in (Whiz(whiz, commit()), *(k() for k in KEEPERS)) if not only or k.name in only]
        keepers, absent = installed(wanted, args.room or lent)
        found = tried(keepers, memory, quick=args.quick, keys=keys, jobs=args.jobs)
    text = report(keepers, absent, found, facts(began))
    path = f"{place}/conformance.md"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    print(text)
    print(f"written to {os.path.relpath(path)}")
    return int(any(v.word not in (PASS, LACKS) for (name, _), v in found.items() if name == "whiz"))


def _names() -> list[str]:
    return ["whiz", *(k.name for k in KEEPERS)]


def _listed(parser: argparse.ArgumentParser, text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            parser.error(f"unknown {name!r}; choose from {', '.join(known)}")
    return names


# -- trying


def tried(keepers: Sequence[Keeper], memory: str, *, quick: bool, keys: Sequence[str], jobs: int) -> Found:
    """Try each behaviour with each supervisor, every trial in a process of its own."""
    pairs = [(k, b.key) for b in BEHAVIOURS for k in keepers if not keys or b.key in keys]

    def run(pair: tuple[Keeper, str]) -> tuple[tuple[str, str], Verdict]:
        keeper, key = pair
        verdict = apart(keeper, key, f"{memory}/{keeper.name}-{key}", quick=quick)
        tell(f"{keeper.name}, {key}: {verdict.word} ({verdict.seen})")
        return (keeper.name, key), verdict

    pool = ThreadPoolExecutor(jobs)
    try:
        return dict(pool.map(run, pairs))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who interrupts it does not wait for the rest


def apart(keeper: Keeper, key: str, base: str, *, quick: bool) -> Verdict:
    """Try one behaviour in a process that inherits, and in the end kills, all that comes to be below it."""
    words = [sys.executable, os.path.abspath(__file__), "--one", key, base, "quick" if quick else ""]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            said, _ = process.communicate(pickle.dumps(keeper), timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends what it has started
            said, _ = process.communicate()
            return Verdict(ODD, f"not over within {LONGEST} s")
    try:
        return Verdict(*json.loads(said))
    except ValueError:
        return Verdict(ODD, f"the trial ended with {process.returncode}")


def one(key: str, base: str, quick: str) -> int:
    """Be that process: an adapter comes on stdin, the verdict goes to stdout."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keeper = pickle.load(sys.stdin.buffer)  # noqa: S301  from our own parent
    behaviour = next(b for b in BEHAVIOURS if b.key == key)

    def work() -> int:
        try:
            verdict = behaviour.shown(Trial(keeper, base, quick=bool(quick)))
        except Exception as exc:  # noqa: BLE001  whatever it is, this is the one cell that it spoils
            traceback.print_exc()
            verdict = Verdict(ODD, " ".join(str(exc).split()))
        print(json.dumps([verdict.word, verdict.seen]), flush=True)
        return 0

    return beneath(work)


# -- saying

HEAD = """\
# Who does what, when it matters

Written by `./scripts/bench conformance`; run it again on your machine. One list of behaviours, tried with each
supervisor by its own documented commands and looked at from outside: markers that each start of a program leaves,
processes in `/proc`. What did not pass is below, with what was seen. `n/a`: it has no such notion."""


def report(keepers: Sequence[Keeper], absent: dict[str, str], found: Found, machine: Sequence[str]) -> str:
    """Return the page."""
    rows = [b for b in BEHAVIOURS if any(key == b.key for _, key in found)]
    cells = [(b.what, *(_cell(found[k.name, b.key]) for k in keepers)) for b in rows]
    passed = ["passed", *(_passed([found[k.name, b.key] for b in rows]) for k in keepers)]
    settings = [(k.name, k.version, k.settings) for k in keepers]
    told = [(b, k, v) for b in rows for k in keepers if (v := found[k.name, b.key]).word != PASS]
    lines = [f"- {b.what}: {k.name}, {v.word}: {v.seen}." for b, k, v in told]
    lines += [f"- {name} is absent: {why}." for name, why in absent.items()]
    return "\n".join([
        HEAD,
        "",
        *machine,
        "",
        section("The table", table(("", *(k.name for k in keepers)), [*cells, tuple(passed)])),
        section("How each was set up", table(("", "version", "settings"), settings)),
        section("What was seen where it is not a pass", "\n".join(lines) or "Nothing: all passed."),
    ])  # fmt: skip


def _cell(verdict: Verdict) -> str:
    return verdict.word if verdict.word in (PASS, LACKS) else f"**{verdict.word}**"


def _passed(verdicts: Sequence[Verdict]) -> str:
    return f"{sum(v.word == PASS for v in verdicts)} of {sum(v.word != LACKS for v in verdicts)}"


if __name__ == "__main__":
    sys.exit(main())

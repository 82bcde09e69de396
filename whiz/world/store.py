"""What whiz remembers: Runs, wishes and history, one file a name, in memory while the disk refuses."""

from __future__ import annotations

import errno
import json
import os
import time
from typing import TYPE_CHECKING

from whiz.core.agenda import Reckoned
from whiz.core.errors import HomeError, NewerFormat
from whiz.core.model import Run, State, Want, Wishes, same_process
from whiz.core.wire import FORMAT, dump, dump_runs, expect, load, load_runs
from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_HISTORY = 500_000  # bytes; one older file of that size is kept beside it
_REMEMBERED = 20  # values of one task whose success is kept


class FileStore:
    """Records in two directories: `records` (this boot's services), `tasks` (successes that hold for ever)."""

    def __init__(self, records: str, tasks: str, state: str, *, mend: bool = False) -> None:
        self._mend = mend  # whether a record that cannot be read may be moved aside: not by who only looks
        self._folders = {Want.UP: records, Want.DOWN: records, Want.DONE: tasks}
        self._state = state
        self._runs: dict[str, tuple[Run, ...]] | None = None
        self._all: tuple[Run, ...] | None = None  # all of them, until one changes
        self._warned: set[str] = set()
        self.unwritten: set[str] = set()  # what is known here and not on the disk
        self._reckoned: dict[str, Reckoned] | None = None
        self._calendar = f"{state}/calendar.json"
        self.complaints: list[str] = []
        self.hear: Callable[[dict[str, object]], None] | None = None  # who else is told of every fact

    def runs(self) -> tuple[Run, ...]:
        """Return every Run on record. One that cannot be read is reported, set aside, and left to observation."""
        if self._runs is None:
            self._runs = {}
            for folder in sorted(set(self._folders.values())):
                for name in self._names(folder, ".json"):
                    for run in self._read(folder, name):
                        self._runs[run.program.name] = (*self._runs.get(run.program.name, ()), run)
        if self._all is None:
            self._all = tuple(r for runs in self._runs.values() for r in runs)
        return self._all

    def save(self, run: Run) -> None:
        """Write one Run down, and forget what no decision needs any more."""
        self.runs()
        assert self._runs is not None  # noqa: S101  just read
        name = run.program.name
        before = self._runs.get(name, ())
        kept = _kept((*(r for r in before if r.id != run.id), run))
        self._runs[name], self._all = kept, None
        for folder in sorted(set(self._folders.values())):
            here = tuple(r for r in kept if self._folders[r.program.want] == folder)
            if here or any(self._folders[r.program.want] == folder for r in before):
                self._write(f"{folder}/{disk.quoted(name)}.json", here, durable=folder == self._folders[Want.DONE])
        for gone in {r.id for r in before} - {r.id for r in kept} | {r.id for r in kept if not r.live}:
            self._drop_outcome(name, gone)

    def catch_up(self) -> None:
        """Write down what is known only here, now that the disk may take it."""
        for path in sorted(self.unwritten):
            if path == self._calendar:
                self._write_calendar()
                continue
            folder, name = os.path.split(path)
            runs = (self._runs or {}).get(disk.unquoted(name.removesuffix(".json")), ())
            here = tuple(r for r in runs if self._folders[r.program.want] == folder)
            self._write(path, here, durable=folder == self._folders[Want.DONE])

    def forget(self, names: Iterable[str]) -> None:
        """Drop the ended Runs of services that no manifest names any more."""
        for name in names:
            runs = () if self._runs is None else self._runs.get(name, ())
            if runs and all(not r.live and r.program.want is not Want.DONE for r in runs):
                assert self._runs is not None  # noqa: S101  it has an entry
                del self._runs[name]
                self._all = None
                self._write(f"{self._folders[Want.UP]}/{disk.quoted(name)}.json", (), durable=False)

    def _read(self, folder: str, name: str) -> tuple[Run, ...]:
        path = f"{folder}/{disk.quoted(name)}.json"
        try:
            runs = load_runs(disk.read_json(path))
            if any(r.program.name != name for r in runs):
                raise ValueError("it speaks of another program")  # noqa: TRY301  handled as every other corruption
            return runs
        except NewerFormat as exc:
            raise HomeError(f"{path}: {exc}; upgrade whiz, or remove the file to start from observation") from exc
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            self._complain(path, f"cannot be read as a record ({exc}); set aside, going by observation")
            if self._mend:
                self._set_aside(path)
            return ()

    def _set_aside(self, path: str) -> None:
        try:
            os.rename(path, f"{path}.corrupt")
        except OSError as exc:
            _warn("%s: %s; it stays where it is", path, exc.strerror)

    def _write(self, path: str, runs: tuple[Run, ...], *, durable: bool) -> None:
        try:
            if runs:
                disk.write(path, json.dumps(dump_runs(runs)), durable=durable)
            else:
                os.unlink(path)
        except FileNotFoundError:
            self.unwritten.discard(path)
            if runs:
                self.unwritten.add(path)
                self._complain(path, "its directory is gone; going on in memory")
        except OSError as exc:
            self.unwritten.add(path)
            self._complain(path, f"{exc.strerror}; going on in memory")
        else:
            self.unwritten.discard(path)
            self._warned.discard(os.path.dirname(path))

    def _complain(self, path: str, words: str) -> None:
        """Say it once for a directory until it works again."""
        folder = os.path.dirname(path)
        if folder not in self._warned or "set aside" in words:
            self._warned.add(folder)
            self.complaints.append(f"{path}: {words}")
            _warn("%s: %s", path, words)

    def hush(self) -> None:
        """Take it as said that nothing can be written to the state directory."""
        self._warned |= {self._state, self._folders[Want.DONE], f"{self._state}/restart"}

    def _drop_outcome(self, name: str, run_id: str) -> None:
        outcome = f"{disk.quoted(name)}@{run_id}.outcome"
        for folder in set(self._folders.values()):
            for path in (
                f"{folder}/{outcome}",
                f"{folder}/.{outcome}.new",
            ):  # the second of a chaperone that was killed
                try:
                    os.unlink(path)
                except OSError:
                    continue  # most Runs have none

    def sweep(self) -> None:
        """Remove what writes left behind that a kill cut short; only for who has the home's lock."""
        writing = {f".{disk.quoted(r.program.name)}@{r.id}.outcome.new" for r in self.runs() if r.live}
        for folder in set(self._folders.values()):
            try:
                for name in os.listdir(folder):
                    if name.startswith(".") and name.endswith(".new") and name not in writing:
                        os.unlink(f"{folder}/{name}")
            except OSError:
                continue  # a disk that refuses: the next one tries again

    def _names(self, folder: str, ending: str) -> list[str]:
        try:
            found = os.listdir(folder)
        except FileNotFoundError:
            return []
        except OSError as exc:
            if not self._mend:
                raise HomeError(f"{folder}: {exc.strerror}; ask as the user whose whiz this is") from exc
            self._complain(f"{folder}/", f"{exc.strerror}; going by observation")
            return []
        return sorted(disk.unquoted(n.removesuffix(ending)) for n in found if n.endswith(ending))

    # -- wishes: one empty file each, so that writing one is a single step and many may write

    def wishes(self) -> Wishes:
        """Return what is asked for by command."""
        restarts = (w.split("@", 1) for w in self._names(f"{self._state}/restart", "") if "@" in w)
        return Wishes(frozenset(self._names(f"{self._state}/held", "")), frozenset((n, i) for n, i in restarts))

    def wishes_at(self) -> tuple[str, ...]:
        """Return the directories that wishes are written to, made where they are missing."""
        folders = (f"{self._state}/held", f"{self._state}/restart")
        for folder in folders:
            try:
                disk.make(folder, 0o700)
            except OSError:
                continue  # a wish cannot be written there either
        return folders

    def hold(self, name: str) -> bool:
        """Keep a program down; return whether it was not already. Raise HomeError."""
        return self._touch("held", name)

    def unhold(self, name: str) -> bool:
        """Undo a hold; return whether there was one. Raise HomeError."""
        return self._remove("held", name)

    def restart(self, run: Run) -> bool:
        """Ask that this Run be ended and followed by another; asked again it is the same wish. Raise HomeError."""
        return self._touch("restart", f"{run.program.name}@{run.id}")

    def granted(self, name: str, run_id: str) -> None:
        """Drop a restart wish whose Run has a successor; one that cannot be dropped names a Run that is gone."""
        try:
            self._remove("restart", f"{name}@{run_id}")
        except HomeError as exc:
            self._complain(f"{self._state}/restart/", str(exc))

    def _touch(self, kind: str, name: str) -> bool:
        folder = f"{self._state}/{kind}"
        try:
            disk.make(folder, 0o700)
            os.close(
                os.open(f"{folder}/{disk.quoted(name)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            )
            disk.sync(folder)
        except FileExistsError:
            return False
        except OSError as exc:
            raise HomeError(f"{folder}/{name}: {exc.strerror}; the wish is not noted") from exc
        return True

    def _remove(self, kind: str, name: str) -> bool:
        folder = f"{self._state}/{kind}"
        try:
            os.unlink(f"{folder}/{disk.quoted(name)}")
            disk.sync(folder)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise HomeError(f"{folder}/{name}: {exc.strerror}; the wish still stands") from exc
        return True

    # -- calendar

    def reckoned(self) -> dict[str, Reckoned]:
        """Return from when on each scheduled program is reckoned; one that cannot be read is reckoned from now."""
        if self._reckoned is None:
            self._reckoned = {}
            try:
                held = disk.read_json(self._calendar)
                if held is not None:
                    self._reckoned = {n: load(Reckoned, r) for n, r in expect(held)["programs"].items()}
            except NewerFormat as exc:
                raise HomeError(f"{self._calendar}: {exc}; upgrade whiz, or remove the file") from exc
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
                self._complain(self._calendar, f"cannot be read ({exc}); schedules count from now")
        return self._reckoned

    def reckon(self, reckoned: Mapping[str, Reckoned]) -> None:
        """Keep that, durably, where it has changed."""
        if dict(reckoned) == self.reckoned():
            return
        self._reckoned = dict(reckoned)
        self._write_calendar()

    def _write_calendar(self) -> None:
        held = {"format": FORMAT, "programs": {n: dump(r) for n, r in self.reckoned().items()}}
        try:
            disk.write(self._calendar, json.dumps(held), durable=True)
        except OSError as exc:
            self.unwritten.add(self._calendar)
            self._complain(self._calendar, f"{exc.strerror}; going on in memory")
        else:
            self.unwritten.discard(self._calendar)

    # -- history

    @property
    def history_path(self) -> str:
        """Return where facts are appended, a line of JSON each; a full file is renamed to end in `.1`."""
        return f"{self._state}/history.jsonl"

    def note(self, facts: dict[str, object]) -> None:
        """Append one fact to the history; a full disk loses the line and nothing else."""
        path = self.history_path
        facts = {"format": FORMAT, "at": round(time.time(), 3), **facts}
        if self.hear is not None:
            self.hear(facts)
        line = (json.dumps(facts, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    line = b"\n" + line  # the one before was cut short, and this one is not to be lost with it
                if os.write(fd, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                st = os.fstat(fd)
                large = st.st_size > _HISTORY and os.stat(path).st_ino == st.st_ino  # nobody else has put it aside
            finally:
                os.close(fd)
            if large:
                os.rename(path, f"{path}.1")
        except OSError as exc:
            self._complain(path, f"{exc.strerror}; history has a gap")

    def history(self) -> list[dict[str, object]]:
        """Return what happened, newest last. Lines cut short by a crash are left out."""
        facts = []
        for path in (f"{self.history_path}.1", self.history_path):
            try:
                lines = (disk.read(path) or b"").splitlines()
            except OSError as exc:
                raise HomeError(f"{path}: {exc.strerror}") from exc
            for line in lines:
                try:
                    fact = json.loads(line)
                except ValueError:
                    continue
                if isinstance(fact, dict):
                    facts.append(fact)
        return facts


def _warn(text: str, *words: object) -> None:
    import logging  # noqa: PLC0415  5 ms that a quiet turn does not have

    logging.getLogger("whiz.store").warning(text, *words)


def _kept(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return the live Runs, the last ended one, and the newest success of each value of a task."""
    ordered = sorted(runs, key=lambda r: (r.nth, r.started, r.id))
    ended = [r for r in ordered if not r.live]
    kept = [r for r in ordered if r.live] + ended[-1:]
    for run in reversed(ended[:-1]):
        lasting = run.state is State.SUCCEEDED and run.program.want is Want.DONE
        if lasting and len(kept) < _REMEMBERED and not any(same_process(run.program, k.program) for k in kept):
            kept.append(run)
    return tuple(sorted(kept, key=lambda r: (r.nth, r.started, r.id)))

"""kill -9 at any system call of what changes a repository: every channel leads to whole releases only."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.killer import Killer, listing
from whiz.world.release import keys
from whiz.world.release.checking import check
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.world.release.conftest import Master

NEVER = 10**9  # the stop at which nothing is killed any more


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Killer]:
    with Killer(str(tmp_path / "out"), "whiz.face.quesofiesta.cli") as found:
        yield found


def killed_everywhere(
    master: Master, killer: Killer, *words: str, again: Callable[[Repository], tuple[str, ...]] | None = None
) -> tuple[int, set[str]]:
    """Kill a command after each change that it makes to a repository; afterwards the same, or `again`, must do.

    Return how many states that left behind, and what the channel offered in them.
    """
    path, before = master.repository.path, f"{master.place}/before"
    shutil.copytree(path, before)
    args = (*words, "--repo", path)
    whole = killer.watch(path, *args)
    assert whole.code == 0, killer.said()
    seen: set[frozenset[tuple[str, int]]] = set()
    offered: set[str] = set()
    for stop in (1, *whole.changes, NEVER):  # threads shift the stops a little: not each state comes up each time
        shutil.rmtree(path)
        shutil.copytree(before, path)
        killer.run(*args, stop=stop)
        if (now := listing(path)) in seen:
            continue
        seen.add(now)
        repository = Repository(path)
        assert check(repository).problems == (), f"killed at {stop}"
        said = repository.channel("stable")
        offered.add(said.default if said else "")
        more = (*again(repository), "--repo", path) if again else args
        assert killer.run(*more).code == 0, f"after a kill at {stop}: {killer.said()}"
        assert check(repository).problems == (), f"carried on after a kill at {stop}"
        assert not os.path.exists(repository.file(".new"))
    return len(seen), offered


def test_publish(master: Master, killer: Killer) -> None:
    master.three()
    master.put("run.py", "print(4)", 0o755)
    master.put("also.py", "print('also', 4)")
    words = ("publish", str(master.source), "--label", "v4", "--keys", master.keys)
    states, offered = killed_everywhere(master, killer, *words)
    assert offered == {"v3", "v4"}
    assert states > 8


def test_the_first_publish(master: Master, killer: Killer) -> None:
    for i in range(12):  # more than are made safe one by one
        master.put(f"run{i}.py", f"print({i})", 0o755)
    words = ("publish", str(master.source), "--label", "v1", "--keys", master.keys)
    states, offered = killed_everywhere(master, killer, *words)
    assert offered == {"", "v1"}
    assert states > 15


def test_gc(master: Master, killer: Killer) -> None:
    master.three()
    states, offered = killed_everywhere(master, killer, "gc", "--keep", "1")
    assert offered == {"v3"}
    assert states > 5


def test_rotate(master: Master, killer: Killer) -> None:
    master.three()
    keys.make(f"{master.keys}/other", "other")
    rotate = ("rotate", "--key", f"{master.keys}/other.pub", "--keys", master.keys)

    def again(repository: Repository) -> tuple[str, ...]:
        return rotate if repository.versions() == [1] else ("rollback", "--keys", master.keys)

    states, offered = killed_everywhere(master, killer, *rotate, again=again)
    assert {"v3"} == offered
    assert states > 5


def test_init(killer: Killer, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    words = ("init", f"{place}/repo", "--app", "app", "--keys")
    whole = killer.watch(str(place), *words, f"{place}/keys")
    assert whole.code == 0, killer.said()
    for stop in (1, *whole.changes):
        shutil.rmtree(place)
        place.mkdir()
        killer.run(*words, f"{place}/keys", stop=stop)
        turn = killer.run(*words, f"{tmp_path}/keys-{stop}")
        assert turn.code == 0, f"after a kill at {stop}: {killer.said()}"
        assert check(Repository(f"{place}/repo")).problems == ()

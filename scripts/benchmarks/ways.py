"""Ways to bring a tree from a master to a node's card: whiz and its peers, behind one shape."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ground import MASTER, NODE, Card, at

KEEP = 4  # releases on the card: the one that runs, the one before, two more

_FLIP = f"""
sync -f . && mv new releases/$n && ln -s releases/$n .current && mv -T .current current && sync -f .
ls releases | sort -rn | tail -n +{KEEP + 1} | while read -r old; do rm -rf "releases/$old"; done
"""
_BEGIN = "set -e; cd {card}; n=$(date +%s%N); mkdir -p releases\n"


@dataclass(frozen=True)
class Cost:
    """What one update cost: seconds, bytes over the wire, bytes to the card."""

    seconds: float
    wire: int
    card: int


@dataclass
class Way:
    """One way. `words`: run on the node, or (`push`) on the master."""

    name: str
    card: Card
    words: list[str]
    push: bool = False
    note: str = ""
    found: dict[str, list[Cost]] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where things are: the source, the master's memory, the commands, the environment of all."""

    source: str
    memory: str
    bin: str
    peers: str
    env: dict[str, str]

    def run(self, *words: str) -> str:
        """Run one of the master's commands."""
        done = subprocess.run(words, env=self.env, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(words)}: {done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout


RSYNC, IN_PLACE, COPY = "rsync --link-dest", "rsync in place", "a full copy (tar)"
GIT, ANSIBLE, HTTP, SSH = "git pull", "ansible synchronize", "**whiz, http**", "**whiz, ssh**"
FIRST, SAME, ONE, TENTH = "First install", "Nothing new", "One file changed", "A tenth of the files changed"
NAMES = (RSYNC, IN_PLACE, COPY, GIT, ANSIBLE, HTTP, SSH)


class Master:
    """What offers the source in every way."""

    def __init__(self, place: Place, *, git: bool) -> None:
        self._place = place
        self._git = ["git", f"--git-dir={place.memory}/git", f"--work-tree={place.source}"] if git else []
        if git:
            place.run(*self._git, "init", "-q", "-b", "main")
        self._repo = f"{place.memory}/repo"
        init = [f"{place.bin}/quesofiesta", "init", self._repo, "--app", "bench", "--keys", f"{place.memory}/keys"]
        self._settings = json.loads(place.run(*init, "--json"))
        self.publish()

    def publish(self) -> None:
        """Offer the source as it is now."""
        if self._git:
            self._place.run(*self._git, "add", "-A")
            me = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")
            self._place.run(*self._git, *me, "commit", "-q", "-m", "a version")
        first = not os.path.exists(f"{self._repo}/channel/stable")
        self._place.run(*publishing(self._place, self._place.source, self._repo), *(["--pack"] if first else []))

    def settle(self, home: str, mirror: str) -> None:
        """Write what a node needs to follow it."""
        os.makedirs(home)
        lines = ["app: bench", f"repo: {self._settings['repo']}", "keys:"]
        lines += [f"  - {k}" for k in self._settings["keys"]["root"]]
        lines += ["mirrors:", f"  - {mirror}", f"keep: {KEEP - 2}"]
        Path(f"{home}/quesofiesta.yaml").write_text("\n".join(lines) + "\n", encoding="ascii")


def publishing(place: Place, source: str, repo: str) -> list[str]:
    """Return the command that publishes a tree."""
    return [f"{place.bin}/quesofiesta", "publish", source, "--repo", repo, "--keys", f"{place.memory}/keys", "-q"]


def ways(place: Place, room: str, megabytes: int, names: list[str]) -> list[Way]:
    """Return those of these names, each with a card of its own."""
    source, memory = place.source, place.memory
    rsync = f"rsync -a --delete root@{MASTER}:{source}/"
    pulled = f"git clone -q --depth 1 ssh://root@{MASTER}{memory}/git tree"
    play = f"{memory}/play.json"
    pull = f"set -e; {place.bin}/quesofiesta pull -q --home {{card}}/home; sync -f {{card}}"
    linked = f'{rsync} ${{old:+--link-dest="{{card}}/$old"}} {{card}}/new'
    told = {
        RSYNC: (
            f"{_BEGIN}old=$(readlink current || true)\n{linked}{_FLIP}",
            f"`rsync -a --delete --link-dest` into a new directory, and a flip; the last {KEEP} stay",
        ),
        IN_PLACE: (f"set -e; cd {{card}}; {rsync} tree; sync -f .", "`rsync -a --delete` over what runs"),
        COPY: (
            f"{_BEGIN}mkdir new; ssh root@{MASTER} tar -C {source} -cf - . | tar -xf - -C new{_FLIP}",
            "`ssh … tar | tar` into a new directory, and a flip",
        ),
        GIT: (
            f"set -e; cd {{card}}; if [ -d tree ]; then git -C tree pull -q --ff-only; else {pulled}; fi; sync -f .",
            "`git clone --depth 1`, then `git pull --ff-only`, over what runs",
        ),
        ANSIBLE: (
            f"{place.peers}/ansible-playbook -i {NODE}, {play} >{memory}/ansible.log",
            "ansible.posix.synchronize over what runs, from the master, which keeps its connection; no facts",
        ),
        HTTP: (pull, "`quesofiesta pull` from nginx, compressed; the first release was published with `--pack`"),
        SSH: (pull, "`quesofiesta pull` from sshd: the same files"),
    }
    found = []
    for n, name in enumerate(names):
        script, note = told[name]
        card = Card(room, f"{memory}/cards/{n}", megabytes)
        found.append(Way(name, card, ["sh", "-c", script.replace("{card}", card.at)], name == ANSIBLE, note))
        if name == ANSIBLE:
            Path(play).write_text(json.dumps([_play(source, card.at)]), encoding="ascii")
    return found


def _play(source: str, card: str) -> dict[str, object]:
    tasks: list[object] = [
        {"ansible.posix.synchronize": {"src": f"{source}/", "dest": f"{card}/tree/", "delete": True}},
        {"ansible.builtin.command": f"sync -f {card}"},
    ]
    python = {"ansible_python_interpreter": "/usr/bin/python3"}
    return {"hosts": "all", "gather_facts": False, "tasks": tasks, "vars": python}


def mirror(name: str, place: Place) -> str:
    """Return where whiz has it from."""
    return f"http://{MASTER}/" if name == HTTP else f"ssh://root@{MASTER}{place.memory}/repo"


def entering(way: Way, node: str) -> list[str]:
    """Return the words that do an update."""
    return way.words if way.push else [*at(node), *way.words]

"""Ways to bring a tree from a master to a node's card: whiz and its peers, behind one shape."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ground import MASTER, NODE, Card, at

KEEP = 4  # releases on the card: the one that runs, the one before, two more

_FLIP = """
sync -f . && mv new releases/$n && ln -s releases/$n .current && mv -T .current current && sync -f .
ls releases | sort -rn | tail -n +{more} | while read -r old; do rm -rf "releases/$old"; done
""".format(more=KEEP + 1)
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


class Master:
    """What offers the source in every way."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._git = ["git", f"--git-dir={place.memory}/git", f"--work-tree={place.source}"]
        place.run(*self._git, "init", "-q", "-b", "main")
        self._repo = f"{place.memory}/repo"
        init = [f"{place.bin}/quesofiesta", "init", self._repo, "--app", "bench", "--keys", f"{place.memory}/keys"]
        self._settings = json.loads(place.run(*init, "--json"))
        self.publish()

    def publish(self) -> None:
        """Offer the source as it is now."""
        self._place.run(*self._git, "add", "-A")
        me = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")
        self._place.run(*self._git, *me, "commit", "-q", "-m", "a version")
        self._place.run(*publishing(self._place, self._place.source, self._repo))

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


def ways(place: Place, room: str, megabytes: int) -> list[Way]:
    """Return all of them, each with a card of its own."""
    source, memory = place.source, place.memory
    rsync = f"rsync -a --delete root@{MASTER}:{source}/"

    def way(name: str, key: str, script: str, note: str = "", *, push: bool = False) -> Way:
        card = Card(room, f"{memory}/cards/{key}", megabytes)
        return Way(name, card, ["sh", "-c", script.replace("{card}", card.at)], push, note)

    linked = _BEGIN + f'old=$(readlink current || true)\n{rsync} ${{old:+--link-dest="{{card}}/$old"}} {{card}}/new'
    copied = _BEGIN + f"mkdir new; ssh root@{MASTER} tar -C {source} -cf - . | tar -xf - -C new"
    pulled = f"git clone -q --depth 1 ssh://root@{MASTER}{memory}/git tree"
    play = f"{memory}/play.json"
    found = [
        way(RSYNC, "linked", linked + _FLIP, f"`rsync -a --delete --link-dest`: a new directory, and the last {KEEP} stay"),
        way(IN_PLACE, "placed", f"set -e; cd {{card}}; {rsync} tree; sync -f .", "`rsync -a --delete` over what runs"),
        way(COPY, "copied", copied + _FLIP, "`ssh … tar | tar` into a new directory"),
        way(
            GIT,
            "git",
            f"set -e; cd {{card}}; if [ -d tree ]; then git -C tree pull -q --ff-only; else {pulled}; fi; sync -f .",
            "`git clone --depth 1`, then `git pull --ff-only`, over what runs",
        ),
        way(
            ANSIBLE,
            "ansible",
            f"{place.peers}/ansible-playbook -i {NODE}, {play} >{memory}/ansible.log",
            "ansible.posix.synchronize over what runs, from the master, which keeps its connection; no facts",
            push=True,
        ),
    ]
    tasks: list[object] = [
        {"ansible.posix.synchronize": {"src": f"{source}/", "dest": f"{found[-1].card.at}/tree/", "delete": True}},
        {"ansible.builtin.command": f"sync -f {found[-1].card.at}"},
    ]
    held = {"hosts": "all", "gather_facts": False, "tasks": tasks, "vars": {"ansible_python_interpreter": "/usr/bin/python3"}}
    Path(play).write_text(json.dumps([held]), encoding="ascii")
    for name, key in ((HTTP, "http"), (SSH, "ssh")):
        note = "`quesofiesta pull` from " + ("nginx" if key == "http" else "sshd")
        pull = f"set -e; {place.bin}/quesofiesta pull -q --home {{card}}/home; sync -f {{card}}"
        found.append(way(name, key, pull, note))
    return found


def mirror(name: str, place: Place) -> str:
    """Return where whiz has it from."""
    return f"http://{MASTER}/" if name == HTTP else f"ssh://root@{MASTER}{place.memory}/repo"


def entering(way: Way, node: str) -> list[str]:
    """Return the words that do an update."""
    return way.words if way.push else [*at(node), *way.words]

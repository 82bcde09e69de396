"""What `quesofiesta --help` and `quesofiesta COMMAND --help` say."""

from __future__ import annotations

EXIT_CODES = """\
exit status:
  0   done, or nothing to do
  1   it failed; what ran before runs on
  2   bad usage, or a configuration that cannot be used
  3   changes are pending (--dry-run), or the channel is stale
  75  another quesofiesta is at work"""

MAIN = """\
Publish built source as releases, and bring them to every node.

On the master a release is published into a repository: a plain directory that any web
server, a USB stick or quesofiesta itself hands out. Nodes fetch what is missing, check
every byte against the signatures, and switch to it in one step."""

EXAMPLES = """\
examples:
  quesofiesta init /srv/camera --app camera        once: a repository and its keys
  quesofiesta build ./dist                         what a release of it would be
  quesofiesta publish ./dist --repo /srv/camera -m "faster start"
  quesofiesta deploy ./dist --repo /srv/camera     and have a fleet pull it now
  quesofiesta rollback --repo /srv/camera          offer the one before again
  quesofiesta serve --repo /srv/camera             hand it out on this network
  quesofiesta pull                                 on a node: get it
"""

# commands by the module of whiz/face/quesofiesta that has a function of their name: short and long help
MASTER: dict[str, tuple[str, str]] = {
    "init": (
        "make a repository and its keys",
        """\
Make the directory, with a first key set and an empty history, and keys where none are
given: a root key, which only says who may sign (take it off this machine), and one that
signs releases and channels. Keys lie outside the repository, in ~/.config/whiz/keys, or
in ssh-agent. Prints the quesofiesta.yaml that a node needs.

examples:
  quesofiesta init /srv/camera --app camera
  quesofiesta init ./repo --app camera --root-key token.pub --key ~/.ssh/id_ed25519.pub
""",
    ),
    "build": (
        "say what a release of a directory would be",
        """\
Read the whole directory and say which release it would be: its id, its files and bytes,
and what is doubtful in it. Nothing is written.

examples:
  quesofiesta build ./dist
  quesofiesta build ./dist --repo /srv/camera --json | jq .id
""",
    ),
    "publish": (
        "make a release of a directory, and offer it",
        """\
Add what is new to the repository, sign it, and offer it in a channel to every host that
nothing else is said of (pin). The channel is replaced last, in one step: nodes see the
old release or the new one.

examples:
  quesofiesta publish ./dist -m "faster start"
  quesofiesta publish ./dist --channel beta --label 2.1-rc1
  quesofiesta publish ./dist --health "bin/check --quick"
""",
    ),
    "verify": (
        "read the whole repository, and check all of it",
        """\
Check every signature, every release that a channel or its history names, and every
byte of its objects.

examples:
  quesofiesta verify --repo /srv/camera
""",
    ),
    "diff": (
        "say what differs between two releases",
        """\
Name releases by label, by the beginning of their id, or give a directory.

examples:
  quesofiesta diff 2026-11-25.1 2026-11-25.2
  quesofiesta diff 2026-11-25.2 ./dist
""",
    ),
    "history": (
        "print what was published in a channel, newest last",
        """\
examples:
  quesofiesta history
  quesofiesta history --channel beta -n 100
""",
    ),
    "rollback": (
        "offer an earlier release again",
        """\
Offer the release that a channel offered before the present one, or the one with this
label. It is a publish like any other, with a number of its own.

examples:
  quesofiesta rollback
  quesofiesta rollback 2026-11-25.1 -m "2 flickers"
""",
    ),
    "pin": (
        "have a host run one release, whatever is offered to others",
        """\
examples:
  quesofiesta pin garden-cam 2026-11-25.1
""",
    ),
    "unpin": (
        "let a host run what is offered to all",
        """\
examples:
  quesofiesta unpin garden-cam
""",
    ),
    "promote": (
        "offer in one channel what another offers",
        """\
examples:
  quesofiesta promote beta stable
""",
    ),
    "gc": (
        "remove what no channel and no recent history names",
        """\
Keep all that a channel offers, and what the newest --keep entries of each history did;
remove the other releases and the objects that nothing else needs. The history itself
stays.

examples:
  quesofiesta gc --keep 20
  quesofiesta gc --dry-run
""",
    ),
    "bundle": (
        "write one file for a USB stick",
        """\
Write the repository's files for what one channel offers into one file; nodes take it as
a mirror (bundle:///media/usb/camera.whiz) and check it as they check any other.

examples:
  quesofiesta bundle /media/usb/camera.whiz
""",
    ),
    "serve": (
        "hand the repository out on this network",
        """\
Serve it by HTTP until Ctrl-C. Whoever can reach the port can read all of it; nobody can
change it. Any web server does as well.

examples:
  quesofiesta serve --repo /srv/camera --port 8088
""",
    ),
    "rotate": (
        "change who may sign",
        """\
Write the next version of the key set. It is signed by the root keys of the version
before and by its own; nodes follow it by themselves. Channels are signed anew.

examples:
  quesofiesta rotate --new-key                    a new release and channel key
  quesofiesta rotate --key ~/.ssh/id_ed25519.pub
  quesofiesta rotate --root-key token.pub
""",
    ),
}
DEPLOY: dict[str, tuple[str, str]] = {
    "deploy": (
        "bring a release to a fleet: publish it, and have the hosts pull it now",
        """\
Ask the hosts of fleet.yaml over ssh how they are, publish a release of the directory,
have them pull it, and say what became of each. Hosts that are off catch up at their next
pull. With --canary the channel offers it to some hosts first; after each wave they are
looked at again, and when more fail than --abort-at allows, what was offered before is
offered again, and who was updated goes back. Cut off, the same command goes on.

examples:
  quesofiesta deploy ./dist --dry-run
  quesofiesta deploy ./dist --canary 1%,10%,100% --soak 10m -m "faster start"
  quesofiesta deploy ./dist --to cameras

exit status 3 also: a mirror has not got it yet; 130: Ctrl-C, and what is offered is said
""",
    ),
}
NODE: dict[str, tuple[str, str]] = {
    "pull": (
        "bring this node to the release that it is to run",
        """\
Ask the mirrors of /etc/whiz/quesofiesta.yaml what this node is to run, fetch what is
missing, check every byte, and switch to it in one step. What the switch changed must
then run well for a while (gate:), or the node turns back by itself. Where no whiz
stays, the turns are taken here. `whiz install` has it done by itself, every `poll`.

examples:
  sudo quesofiesta pull
  sudo quesofiesta pull --dry-run
  sudo quesofiesta pull --force      (also what failed here before)
""",
    ),
    "status": (
        "say which release this node runs, and how the last pull went",
        """\
Nothing is written and nobody is asked.

examples:
  quesofiesta status
  quesofiesta status --json | jq .current
""",
    ),
    "fsck": (
        "read every byte that this node has of its app",
        """\
Compare objects and releases with what was signed; --repair fetches anew what is damaged.

examples:
  sudo quesofiesta fsck
  sudo quesofiesta fsck --repair
""",
    ),
}
SHELLS: dict[str, tuple[str, str]] = {
    "completion": (
        "print completions for a shell",
        """\
examples:
  quesofiesta completion bash > /etc/bash_completion.d/quesofiesta
  quesofiesta completion zsh > ~/.zfunc/_quesofiesta
""",
    ),
}
ROOMS = {"master": MASTER, "deploy": DEPLOY, "node": NODE, "shells": SHELLS}
COMMANDS = {name: said for held in ROOMS.values() for name, said in held.items()}


def room(command: str) -> str:
    """Return the module that has a command."""
    return next(module for module, held in ROOMS.items() if command in held)

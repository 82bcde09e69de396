"""What `whiz --help` and `whiz COMMAND --help` say."""

from __future__ import annotations

EXIT_CODES = """\
exit status:
  0   every wish holds
  1   something failed: a program cannot run, gave up, or keeps failing
  2   bad usage, or a whizzifest that cannot be used (the last good one stays in force)
  3   changes are pending (check), not everything has converged yet (apply), or not
      all was carried over (import)
  75  another whiz is at work on the same home"""

MAIN = """\
Write down what should run; whiz makes it so.

A whizzifest names programs, one a line:

    # processName|destination
    camera|/opt/app/camera.py --fps 10
    web|/opt/app/web.py

whiz looks at the machine, starts what is missing and ends what should not run."""

EXAMPLES = """\
examples:
  whiz check                        what would happen; changes nothing
  whiz apply                        make it so, then exit: for people, cron and timers
  whiz status --watch               what runs, since when, and why not
  whiz hold camera                  stop it and keep it down, reboots included
  whiz logs web -f                  its output as it comes
  whiz --home /tmp/trial -m ./whizzifest apply     try it without touching the system's own
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "check": (
        "print what would happen; change nothing",
        """\
Print every step that apply would take, turn by turn to the end, each with its
reason, supposing that each start succeeds. Nothing is changed.

examples:
  whiz check && echo all is well
  whiz check --json | jq '.steps[].program'
""",
    ),
    "apply": (
        "take turns until every wish holds, then exit",
        """\
Look at the machine, compare it with the whizzifest, act; again until every wish
holds. Short waits, such as a back-off, are slept through for at most --wait.
Programs go on when whiz exits.

examples:
  whiz apply
  whiz apply --wait 2m
  * * * * * whiz apply -q       (crontab: once a minute)
""",
    ),
    "run": (
        "stay, and take a turn whenever something happens",
        """\
The same turn as apply, resident: wakes when a program ends, when the whizzifest or
a wish is edited, when a wait is over, and at least every --every. For systemd
(Type=notify) and for terminals. SIGTERM leaves the programs running (--stop ends
them), Ctrl-C in a terminal ends them, SIGHUP takes a turn, SIGUSR2 renews whiz itself.

examples:
  whiz run
  whiz run --every 10s --stop
""",
    ),
    "status": (
        "show what runs, and why what does not",
        """\
One line per program: name, state, pid, since when, restarts, cpu, memory and the
reason for all that.

examples:
  whiz status
  whiz status --watch
  whiz status --json | jq '.programs[] | select(.state != "running")'
""",
    ),
    "logs": (
        "print a program's newest output",
        """\
Print the end of a program's output; -f goes on printing as it comes, also when
the file is trimmed.

examples:
  whiz logs web
  whiz logs web -n 100 -f
""",
    ),
    "hold": (
        "stop programs and keep them down",
        """\
Stop the programs and keep them down until unhold; a hold survives whiz and
reboots.

examples:
  whiz hold camera web
""",
    ),
    "unhold": (
        "let held programs run again",
        """\
Undo a hold.

examples:
  whiz unhold camera
""",
    ),
    "restart": (
        "end programs and start them anew",
        """\
End the present run of each program and start another; a program in back-off
starts at once, a task that has succeeded runs again. Asked twenty times at once
it happens once.

examples:
  whiz restart web
  whiz restart --self           (the whiz that stays becomes the one installed now)
""",
    ),
    "stop": (
        "end every program, once; wishes stay",
        """\
End every program, in reverse order of `after`, as when the machine shuts down, which
is what calls it where whiz install was run. What is wished stays as it is: the next
turn starts them again. A whiz that stays is asked to go first. To keep programs down
use hold.

examples:
  whiz stop
  sudo systemctl stop whiz-programs     (ends them, and who would start them again)
""",
    ),
    "install": (
        "have whiz come up with the machine",
        """\
Write and enable what brings whiz up after a boot: a systemd service in which it stays
(--systemd, the default where systemd runs), a systemd timer (--timer) or cron (--cron,
the default elsewhere) that has it take a turn a minute. Where there is systemd,
programs end in reverse order when the machine shuts down. Run again, it changes what
is not as it should be and says so; another mode takes the place of the one before.
Programs go on meanwhile. Where quesofiesta.yaml is there, releases are pulled as well,
as often as its `poll` says.

examples:
  sudo whiz install
  whiz install --user --timer     (your own programs, without root)
  whiz install --print            (show it, on any machine; change nothing)
""",
    ),
    "uninstall": (
        "have whiz no longer come up with the machine",
        """\
Remove what install made. Programs go on; whiz stop ends them.

examples:
  sudo whiz uninstall
  whiz uninstall --user --print
""",
    ),
    "history": (
        "print what happened, newest last",
        """\
Print starts, stops and ends with their reasons. What is kept is bounded.

examples:
  whiz history -n 50
  whiz history camera
""",
    ),
    "events": (
        "print facts as lines of JSON, as they come",
        """\
Every start, exit, error, stop, kill, crash loop, hold … as one line of JSON, the
newest last; -f goes on as they happen.

examples:
  whiz events -f | jq 'select(.event == "exit" and .exit != 0)'
  whiz events -n 1000 > facts.jsonl
""",
    ),
    "explain": (
        "say everything about one program",
        """\
The wish, the facts, the decision and when whiz will look again.

examples:
  whiz explain camera
""",
    ),
    "doctor": (
        "examine the machine, and say what to do",
        """\
Look for what makes whiz work less well than it could: the clock, the kernel and its
cgroups, the file systems of whiz's directories, systemd units that would take
programs down with whiz, other homes. Changes nothing; needs neither root nor a
whizzifest. Exit status 1 when there is trouble, 0 otherwise.

examples:
  sudo whiz doctor
  whiz doctor --json | jq '.findings[] | select(.grade != "ok")'
""",
    ),
    "fleet": (
        "ask many hosts at once, over ssh",
        """\
Ask the whiz of each host, over ssh, and show one table of what they say. The hosts
stand in fleet.yaml, beside the whizzifest; --fleet also takes an Ansible inventory
or an ssh config. Host keys are checked and nobody is asked for a password. Exit
status: 1 when a host failed, else 4 when one was offline, else 3 when one has not
converged yet, else 0.

examples:
  whiz fleet hosts
  whiz fleet check --to cameras
  whiz fleet restart web --to 'pi*:!pi7' -j 8
  whiz fleet exec --fleet inventory.ini -- uptime
""",
    ),
    "import": (
        "print a whizzifest made of other supervisors' files",
        """\
Read supervisord.conf, a Procfile, pm2's ecosystem file, systemd's units, the older
whizzifest or its hitlist; print a YAML whizzifest, and on stderr what it does not hold,
with place and reason. Nothing else is read or changed. Here exit status 3 says that
something was not carried over, and 2 that a file cannot be read.

examples:
  whiz import /etc/supervisor/supervisord.conf > whizzifest.yaml
  whiz import /etc/systemd/system/{web,worker@1}.service | less
  whiz import --format procfile - < Procfile.dev
""",
    ),
    "schema": (
        "print the JSON Schema of a YAML whizzifest",
        """\
For editors that check as you type.

examples:
  whiz schema > whizzifest.schema.json
""",
    ),
    "completion": (
        "print completions for a shell",
        """\
examples:
  whiz completion bash > /etc/bash_completion.d/whiz
  whiz completion zsh > ~/.zfunc/_whiz
""",
    ),
}

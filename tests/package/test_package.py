"""One file, one command, on a Debian that has neither pip nor compiler: install, work, upgrade, remove, purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.package.conftest import built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.package.conftest import Machine

INSTALL = "apt-get install -y --no-install-recommends /mnt/whiz.deb"
PIDS = "whiz status | awk '$2 == \"running\" { print $1, $3 }'"
RESIDENT = "[ -e /run/whiz/resident.json ]"


def wish(machine: Machine, *lines: str) -> None:
    machine.sh("mkdir -p /etc/whiz && cat >/etc/whiz/.new <<'E' && mv /etc/whiz/.new /etc/whiz/whizzifest\n"
               + "\n".join(lines) + "\nE")  # fmt: skip


def bare(boot: Callable[[], Machine]) -> Machine:
    """Return a machine just after the one command."""
    machine = boot()
    machine.sh(INSTALL)
    assert (
        machine.sh("ls -d /etc/whiz /run/whiz /var/lib/whiz /var/log/whiz 2>/dev/null", code=2) == ""
    )  # nothing was begun
    return machine


@pytest.fixture(scope="module")
def node(boot: Callable[[], Machine]) -> Machine:
    """Return a machine with whiz on it."""
    return bare(boot)


@pytest.fixture
def clean(node: Machine) -> Iterator[Machine]:
    """Return that machine with nothing of whiz running."""
    yield node
    wish(node)
    node.sh("whiz apply --allow-empty --wait 2m && rm -rf /etc/whiz /run/whiz /var/lib/whiz /var/log/whiz")


def test_the_same_source_gives_the_same_package(package: Path, tmp_path: Path) -> None:
    again = built(tmp_path, TZ="Asia/Tokyo", LC_ALL="C")
    assert again.name == package.name
    assert again.read_bytes() == package.read_bytes()


def test_one_command_installs_it_where_pip_may_not(node: Machine) -> None:
    version = node.sh("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").strip()
    node.sh(f"[ -e /usr/lib/python{version}/EXTERNALLY-MANAGED ]")
    assert node.sh("command -v pip pip3 gcc cc make", code=127) == ""
    assert node.sh("whiz --version") == "whiz 0.1.0\n"
    assert node.sh("dpkg --verify whiz") == ""
    for name in ("whiz", "quesofiesta"):
        node.sh(f"test -s /usr/share/bash-completion/completions/{name}")
        node.sh(f"test -s /usr/share/zsh/vendor-completions/_{name}")


def test_the_demo(node: Machine) -> None:
    said = node.sh("WHIZ=/usr/bin/whiz /mnt/scripts/demo")
    for words in ("3 changes pending", "every wish holds: 3 running", "web still has pid", "held", "Everything was"):
        assert words in said


def test_check_apply_and_the_quiet_apply(clean: Machine) -> None:
    wish(clean, "web|/mnt/manifests/programs/web.py --port 8080", "sleep|sleep 1000")
    assert "2 changes pending" in clean.sh("whiz check", code=3)
    assert "every wish holds: 2 running" in clean.sh("whiz apply")
    pids = clean.sh(PIDS)
    assert len(pids.splitlines()) == 2
    for _ in range(3):
        assert clean.sh("whiz apply --quiet") == ""
    assert clean.sh(PIDS) == pids
    clean.sh("rm -rf /run/whiz && whiz apply --quiet")  # found again by their marks, and nothing twice
    assert clean.sh(PIDS) == pids


def test_tasks_limits_and_users_need_the_steps_that_run_as_files(clean: Machine) -> None:
    clean.sh("mkdir -p /etc/whiz && cat >/etc/whiz/whizzifest.yaml <<'E'\n"
             "programs:\n"
             "  task: {run: [sh, -c, 'id -un; ulimit -n'], want: done, user: nobody, limits: {files: 77}}\n"
             "  nice: {run: sleep 1000, nice: 5}\nE")  # fmt: skip
    clean.sh("whiz apply")
    clean.until("whiz status task | grep -q succeeded")
    assert clean.sh("whiz logs task") == "nobody\n77\n"
    assert "nice" in clean.sh(PIDS)
    clean.sh("rm /etc/whiz/whizzifest.yaml")


def test_a_whiz_that_stays(clean: Machine) -> None:
    wish(clean, "one|sleep 1001", "two|sleep 1002")
    whiz = clean.stay("whiz", "run", "--every", "1d", "--quiet")
    try:
        clean.until(f"[ $({PIDS} | wc -l) = 2 ]")
        before = dict(line.split() for line in clean.sh(PIDS).splitlines())
        clean.sh(f"kill -9 {before['one']}")
        clean.until(f"{PIDS} | grep one | grep -vw {before['one']}")
        wish(clean, "one|sleep 1001", "two|sleep 1002", "three|sleep 1003")  # what watchdog is for
        clean.until(f"[ $({PIDS} | wc -l) = 3 ]")
        assert f"two {before['two']}\n" in clean.sh(PIDS)
    finally:
        clean.sh("""kill $(sed 's/.*"pid": //; s/[^0-9].*//' /run/whiz/resident.json)""")
        assert whiz.wait() == 0


def test_psutil_and_yaml_are_enough_for_cron(boot: Callable[[], Machine]) -> None:
    machine = bare(boot)
    machine.sh("dpkg --purge --force-depends python3-schedule python3-watchdog")
    wish(machine, "sleep|sleep 1000")
    machine.sh("whiz check", code=3)
    machine.sh(f"whiz apply && whiz apply --quiet && kill $({PIDS} | cut -d' ' -f2)")
    assert "+ start sleep" in machine.sh("whiz apply")


def test_upgrade_remove_and_purge(boot: Callable[[], Machine]) -> None:
    machine = bare(boot)
    wish(machine, "one|sleep 1001")
    whiz = machine.stay("whiz", "run", "--every", "1d", "--quiet")
    machine.until(f"{RESIDENT} && {PIDS} | grep one")
    running, resident = machine.sh(PIDS), machine.sh("sed 's/\"version.*//' /run/whiz/resident.json")
    assert '"version": "0.1.0"' in machine.sh("cat /run/whiz/resident.json")
    machine.sh("dpkg-deb -R /mnt/whiz.deb /tmp/new && sed -i 's/^Version: .*/Version: 9.0/' /tmp/new/DEBIAN/control &&"
               " sed -i 's/0\\.1\\.0/9.0/' /tmp/new/usr/lib/python3/dist-packages/whiz/__init__.py &&"
               " rm /tmp/new/DEBIAN/md5sums && dpkg-deb -b /tmp/new /tmp/new.deb && apt-get install -y /tmp/new.deb")  # fmt: skip
    assert '"version": "9.0"' in machine.sh("cat /run/whiz/resident.json")
    assert machine.sh("sed 's/\"version.*//' /run/whiz/resident.json") == resident  # the same process
    assert machine.sh(PIDS) == running

    assert "goes on running" in machine.sh("apt-get remove -y whiz")
    pid = running.split()[1]
    machine.sh(f"kill -0 {pid} && [ -e /etc/whiz/whizzifest ] && [ -d /var/lib/whiz ]")
    assert machine.sh("find /usr -path '*whiz*'") == ""
    assert whiz.wait() == 0  # without its modules it could not stay
    machine.sh("apt-get purge -y whiz")
    assert machine.sh("find /run /var /usr /etc -name '*whiz*' | sort") == "/etc/whiz\n/etc/whiz/whizzifest\n"

    machine.sh(INSTALL)  # back again: it knows its program by the mark
    assert machine.sh("whiz apply --quiet") == ""
    assert machine.sh(PIDS) == running

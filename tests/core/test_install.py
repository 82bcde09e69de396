"""What is installed, in every mode, after any other: decided on a machine that is a value."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.crontab import others, period, table
from whiz.core.install import Command, Deed, Found, Remove, Tabulate, Write, install, quiet, said, uninstall
from whiz.core.subtree import PROGRAMS, cgroup
from whiz.core.units import ALL, PULL, PULLS, SERVICE, TIMER, Mode, Pull, Site, begun, programs, units, unwritable
from whiz.core.value import replace

SYSTEM = Site(("/usr/local/bin/whiz",), runtime=True)
USER = Site(("/usr/local/bin/whiz",), "pi")
PULLED = Pull(("/usr/local/bin/quesofiesta", "pull", "--quiet"), 300.0)
PULLING = replace(SYSTEM, pull=PULLED)
BARE = Found(folder="/etc/systemd/system", systemd=True, crontab="")
MINE = "# mine\n17 3 * * * true\n"


def done(found: Found, deeds: tuple[Deed, ...]) -> Found:
    """Return what is so after these deeds; programs may not be ended by any."""
    files, enabled, active = dict(found.files), {*found.enabled}, {*found.active}
    loaded = dict(files)
    for deed in deeds:
        match deed:
            case Write(path, text, sign):
                name = path.rpartition("/")[2]
                assert sign == ("+" if name not in files else "~" if files[name] != text else "=")
                files[name] = text
            case Remove(path):
                del files[path.rpartition("/")[2]]
            case Tabulate(text, sign):
                assert (sign == "=") == (text == found.crontab)
                found = replace(found, crontab=text)
            case Command(("loginctl", *_)):
                found = replace(found, lingers=True)
            case Command(argv):
                words = [w for w in argv[1:] if not w.startswith("--")]
                match words:
                    case ["daemon-reload"]:
                        loaded = dict(files)
                    case ["enable", name]:
                        assert "[Install]" in loaded[name]
                        enabled.add(name)
                    case ["disable", name]:
                        assert name != PROGRAMS or "ExecStop=" not in loaded[name]
                        enabled.discard(name)
                        active.discard(name)
                    case ["reset-failed", name]:
                        found = replace(found, failed=found.failed - {name})
                    case ["start" | "restart" as verb, name]:
                        assert (verb, name) != ("restart", PROGRAMS)
                        assert loaded[name] == files[name]
                        active.add(name)
    assert loaded == files
    return replace(found, files=files, enabled=frozenset(enabled), active=frozenset(active))


@pytest.mark.parametrize("site", [SYSTEM, USER, PULLING, replace(USER, pull=PULLED)])
@pytest.mark.parametrize(("first", "then"), [*itertools.product(Mode, Mode)])
def test_any_mode_after_any_other_and_nothing_the_second_time(site: Site, first: Mode, then: Mode) -> None:
    bare = replace(BARE, crontab=MINE, lingers=site.user is None)
    found = done(bare, install(site, bare, first))
    found = done(found, install(site, found, then))
    assert found.files == units(site, then)
    assert found.enabled == found.active == {*begun(site, then)}
    assert found.lingers
    assert found.crontab == table(MINE, site if then is Mode.CRON else None)
    assert quiet(install(site, found, then))
    found = done(found, uninstall(site, found))
    assert (found.files, found.enabled, found.active, found.crontab) == ({}, frozenset(), frozenset(), MINE)
    assert quiet(uninstall(site, found))


def test_without_systemd_there_are_only_lines_for_cron() -> None:
    bare = replace(BARE, systemd=False)
    (deed,) = install(SYSTEM, bare, Mode.CRON)
    assert said(deed) == "+ written   the crontab"
    (deed,) = uninstall(SYSTEM, done(bare, (deed,)))
    assert said(deed) == "- removed   the crontab"


def test_a_unit_that_failed_is_not_remembered() -> None:
    found = done(BARE, install(SYSTEM, BARE, Mode.TIMER))
    found = replace(found, failed=frozenset({SERVICE}))
    assert done(found, uninstall(SYSTEM, found)).failed == frozenset()


def test_units_in_an_image_that_runs_no_systemd_are_removed() -> None:
    image = replace(BARE, systemd=False, files=units(SYSTEM, Mode.SYSTEMD))
    assert [said(d) for d in uninstall(SYSTEM, image)] == [
        f"- removed   /etc/systemd/system/{PROGRAMS}",
        f"- removed   /etc/systemd/system/{SERVICE}",
    ]


def test_without_cron_nothing_is_said_of_it() -> None:
    bare = replace(BARE, crontab=None)
    assert not any(isinstance(d, Tabulate) for d in install(SYSTEM, bare, Mode.SYSTEMD))


def test_what_was_changed_by_hand_is_put_right_and_said() -> None:
    found = done(BARE, install(SYSTEM, BARE, Mode.CRON))
    edited = replace(found, crontab=str(found.crontab).replace("--quiet", "--quite"), active=frozenset())
    deeds = install(SYSTEM, edited, Mode.CRON)
    assert [said(d) for d in deeds] == [
        f"= unchanged /etc/systemd/system/{PROGRAMS}",
        f"+ started   {PROGRAMS}",
        "~ changed   the crontab",
    ]
    assert done(edited, deeds) == found
    found = done(BARE, install(SYSTEM, BARE, Mode.TIMER))
    edited = replace(found, files={**found.files, SERVICE: "by hand", PROGRAMS: "by hand"})
    deeds = install(SYSTEM, edited, Mode.TIMER)
    assert [s for d in deeds if (s := said(d))] == [
        f"~ changed   /etc/systemd/system/{PROGRAMS}",
        f"~ changed   /etc/systemd/system/{SERVICE}",
        f"= unchanged /etc/systemd/system/{TIMER}",
    ]
    assert done(edited, deeds) == found
    assert said(Remove("/a")) == "- removed   /a"


def test_no_unit_hides_files_or_kills_programs() -> None:
    for site, mode in itertools.product((SYSTEM, USER, PULLING), Mode):
        for name, text in units(site, mode).items():
            assert name in ALL
            assert "Private" not in text
            assert "Protect" not in text
            assert "Capabilit" not in text
            if name not in (TIMER, *PULLS):
                lines = text.splitlines()
                assert {"KillMode=process", "Delegate=yes", "TasksMax=infinity", "OOMPolicy=continue"} <= {*lines}
            assert ("RuntimeDirectoryPreserve=yes" in text) == (site.runtime and name in (SERVICE, PULL))
    assert "ExecStop=/usr/local/bin/whiz stop" in programs(SYSTEM)
    assert "ExecStop=" not in programs(SYSTEM, ends=False)


def test_where_the_programs_are() -> None:
    assert cgroup(0) == "/system.slice/whiz-programs.service"
    assert cgroup(1000) == "/user.slice/user-1000.slice/user@1000.service/app.slice/whiz-programs.service"


def test_odd_paths_are_quoted_for_systemd_and_for_cron() -> None:
    odd = Site(("/opt/my whiz/50%/whiz", "--home", '/a"b\\$c;d'))
    assert 'ExecStart="/opt/my whiz/50%%/whiz" --home "/a\\"b\\\\$$c;d" run\n' in units(odd, Mode.SYSTEMD)[SERVICE]
    assert "* * * * * '/opt/my whiz/50\\%/whiz' --home '/a\"b\\$c;d' apply --quiet #" in table("", odd)


def test_a_crontab_keeps_what_is_not_ours() -> None:
    text = table("@daily backup\n\n# whiz", SYSTEM)
    assert text.startswith("@daily backup\n\n# whiz\n@reboot /usr/local/bin/whiz apply --quiet # by")
    assert table(text, SYSTEM) == text
    assert table(f"{text}MAILTO=me\n", None) == "@daily backup\n\n# whiz\nMAILTO=me\n"
    mine = "  * * * * * cd / && whiz apply --quiet"
    assert others(f"{text}{mine}\n# whiz apply\n* * * * * whizzer apply\n") == (mine.strip(),)


@given(st.text(st.characters(blacklist_categories=[])))
def test_what_can_be_written_stays_on_its_line_and_can_be_read(path: str) -> None:
    site = Site(("/bin/whiz", "--home", f"/a{path}"))
    plain = Site(("/bin/whiz", "--home", "/a"))
    if unwritable(path):
        return
    for mode in Mode:
        for name, text in units(site, mode).items():
            assert text.encode().count(b"\n") == units(plain, mode)[name].count("\n")
            assert "\r" not in text
    assert table("", site).count("\n") == 2


def test_what_cannot_be_written_is_named() -> None:
    assert unwritable("/a\nb") == r"holds the control character '\n'"
    assert unwritable("/a\rb") == r"holds the control character '\r'"
    assert unwritable("/f\udcfcr") == "is no UTF-8"
    assert unwritable("/für/☃ %$") == ""


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["0 5 * * * /bin/echo a\x0cb\r", "# f\udcfcr", "a\x1cb", "\x85", "\u2028", "", "#", " # by whiz"]
        ),
        st.text(st.characters(blacklist_categories=[], blacklist_characters="\n")),
    ).filter(lambda line: not line.rstrip().endswith(" # by whiz install"))
)


@given(LINES, LINES, st.sampled_from(["", "no line feed at its end"]))
def test_of_a_crontab_every_byte_that_is_not_ours_stays(before: list[str], after: list[str], last: str) -> None:
    first, then = ("".join(f"{line}\n" for line in lines) for lines in (before, after))
    bare, ours = first + then + last, table("", SYSTEM)
    assert ours.count("\n") == 2
    assert table(bare, SYSTEM) == bare + ("\n" if last else "") + ours
    assert table(first + ours + then + last, None) == bare
    assert table(first + ours + then + last, SYSTEM) == first + ours + then + last
    old = ours.replace("/usr/local", "/opt")
    assert table(first + old.replace("\n", "\r\n") + then, SYSTEM) == first + then + ours


# -- releases


def settings(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


@pytest.mark.parametrize("mode", [Mode.SYSTEMD, Mode.TIMER])
def test_pull_s_timers_come_and_go_and_nothing_else_changes(mode: Mode) -> None:
    found = done(BARE, install(SYSTEM, BARE, mode))
    deeds = install(PULLING, found, mode)
    assert [s for d in deeds if (s := said(d)) and s[0] != "="] == [
        *(f"+ written   /etc/systemd/system/{u}" for u in (PULL, *PULLS)),
        *(f"+ enabled   {u}" for u in PULLS),
        *(f"+ started   {u}" for u in PULLS),
    ]
    pulling = done(found, deeds)
    often = replace(PULLING, pull=replace(PULLED, every=10.5))
    deeds = install(often, pulling, mode)
    assert [s for d in deeds if (s := said(d)) and s[0] != "="] == [
        f"~ changed   /etc/systemd/system/{PULLS[1]}",
        f"+ started   {PULLS[1]}",
    ]
    assert done(done(pulling, deeds), install(SYSTEM, done(pulling, deeds), mode)) == found
    assert quiet(install(SYSTEM, found, mode))


def test_a_node_that_waits_for_its_first_release_is_not_waited_for() -> None:
    first = replace(PULLING, pull=replace(PULLED, first=True))
    argvs = [d.argv for d in install(first, BARE, Mode.SYSTEMD) if isinstance(d, Command)]
    assert ("systemctl", "restart", "--no-block", SERVICE) in argvs
    assert done(BARE, install(first, BARE, Mode.SYSTEMD)) == done(BARE, install(PULLING, BARE, Mode.SYSTEMD))
    stopped = replace(done(BARE, install(PULLING, BARE, Mode.SYSTEMD)), active=frozenset({PROGRAMS, *PULLS}))
    (deed,) = (d for d in install(first, stopped, Mode.SYSTEMD) if isinstance(d, Command))
    assert deed.argv == ("systemctl", "start", "--no-block", SERVICE)


def test_between_two_pulls_are_half_to_one_and_a_half_times_poll() -> None:
    for every, least, spread in ((300.0, "150s", "300s"), (10.0, "5s", "10s"), (90.5, "45.25s", "90.5s")):
        made = units(replace(PULLING, pull=replace(PULLED, every=every)), Mode.TIMER)
        held = settings(made[PULLS[1]])
        assert (held["OnUnitInactiveSec"], held["RandomizedDelaySec"]) == (least, spread)
        boot = settings(made[PULLS[0]])
        assert (boot["OnActiveSec"], boot["RandomizedDelaySec"], boot["Unit"]) == ("0", "60s", PULL)
        for timer in PULLS:  # they stop and start with the programs
            assert f"Requires={PROGRAMS}" in made[timer]
            assert f"WantedBy=timers.target {PROGRAMS}" in made[timer]
    pull = units(PULLING, Mode.SYSTEMD)[PULL]
    assert "SuccessExitStatus=3 75\n" in pull
    assert f"Wants={PROGRAMS}\n" in pull


def test_a_thousand_nodes_that_start_in_the_same_second_spread() -> None:
    """The distributions that the units name, 1,000 times: no second sees much more than its share."""
    made = units(PULLING, Mode.SYSTEMD)
    first, every = settings(made[PULLS[0]]), settings(made[PULLS[1]])
    least, spread = (float(every[k].rstrip("s")) for k in ("OnUnitInactiveSec", "RandomizedDelaySec"))
    rng, seconds = random.Random(95), Counter[int]()
    for _ in range(1000):
        at = rng.uniform(0, float(first["RandomizedDelaySec"].rstrip("s")))
        while at < 3600:
            seconds[int(at)] += 1
            at += least + rng.uniform(0, spread)
    minute = [seconds[s] for s in range(60)]
    assert sum(minute) == 1000  # the first of each, over one minute: 17 a second
    assert max(minute) < 3 * 1000 / 60
    later = [seconds[s] for s in range(1800, 3600)]
    assert max(later) < 15  # later 3.3 a second


@pytest.mark.parametrize(
    ("every", "when", "seconds"),
    [
        (10.0, "*/1 * * * *", 60),
        (90.0, "*/1 * * * *", 60),
        (300.0, "*/5 * * * *", 300),
        (540.0, "*/6 * * * *", 360),
        (3599.0, "*/30 * * * *", 1800),
        (3600.0, "0 */1 * * *", 3600),
        (18000.0, "0 */4 * * *", 14400),
        (86400.0, "0 0 * * *", 86400),
        (9e9, "0 0 * * *", 86400),
    ],
)
def test_cron_asks_no_less_often_than_it_is_to_wherever_it_can(every: float, when: str, seconds: int) -> None:
    site = replace(PULLING, pull=replace(PULLED, every=every))
    text = table(MINE, site)
    line = f"{when} sleep $(shuf -i 0-{seconds // 2} -n 1); /usr/local/bin/quesofiesta pull --quiet # by whiz install"
    boot = "@reboot sleep $(shuf -i 0-60 -n 1); /usr/local/bin/quesofiesta pull --quiet # by whiz install"
    assert text.splitlines()[-2:] == [boot, line]
    assert period(every) == seconds
    assert table(text, site) == text
    assert table(text, None) == MINE
    assert others(text) == ()

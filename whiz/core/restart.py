"""When may a program start again? Decided from its last Run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from whiz.core.model import BAD, On, State, Want, same_process
from whiz.core.words import spell_exit, spell_seconds, spell_times

if TYPE_CHECKING:
    from whiz.core.model import Program, Run

CRASH_LOOP = 5  # quick failures in a row


def streak(run: Run | None, program: Program) -> int:
    """Count the failures in a row up to this ended Run.

    For a service only quick ones count (it did not reach `stable`), a quick success among them; a task's
    failures all count, however long they took.
    """
    if run is None or (state := run.state) is State.STOPPED or not same_process(run.program, program):
        return 0
    if program.want is Want.DONE:
        bad = state in BAD and not never_ran(run)
        return run.streak + 1 if bad else 0
    if run.stable:
        return 0
    return run.streak if never_ran(run) else run.streak + 1


def crash_looping(run: Run | None, program: Program) -> bool:
    """Whether the failures up to this ended Run deserve the name."""
    return streak(run, program) >= CRASH_LOOP


def finished(program: Program, run: Run | None) -> bool:
    """Whether a service has ended as its policy allows, so that nothing more is wished."""
    return (
        run is not None
        and not run.live
        and program.want is Want.UP
        and program.restart.on is not On.ALWAYS
        and run.state is State.SUCCEEDED
        and same_process(run.program, program)
    )


def next_start(program: Program, run: Run | None, boot: str) -> tuple[float | None, str]:
    """Return the earliest moment of the next start (None: never; 0: at once) and the reason."""
    if run is None:
        return 0, "not running"
    if not same_process(run.program, program):
        return 0, "the program changed"
    if run.boot != boot:
        return 0, "not running"
    if run.state is State.STOPPED:
        return 0, "was stopped"
    if never_ran(run):
        return 0, "not running"
    policy, said = program.restart, ended_how(run)
    if policy.on is On.NEVER:
        return None, f"{said}; restart is never"
    n = streak(run, program)
    if policy.attempts is not None and n >= policy.attempts:
        return None, f"gave up after {n} of {policy.attempts} attempts: {said}"
    if n == 0:
        return 0, said
    jitter = 0.8 + 0.2 * (crc32(run.id.encode()) % 1001) / 1000  # so that a thousand nodes do not knock at once
    delay = min(policy.delay * 2.0 ** min(n - 1, 60), policy.max_delay)
    if n >= CRASH_LOOP:  # named as such and retried slowly, whatever the delay
        delay = max(delay, min(2.0 ** min(n - CRASH_LOOP, 60), max(policy.max_delay, 1.0)))
    delay *= jitter
    times = "" if n == 1 else f", {spell_times(n)} in a row"
    loop = "crash loop: " if n >= CRASH_LOOP else ""
    return (run.ended or 0.0) + delay, f"{loop}{said}{times}; back-off {spell_seconds(delay)}"


def ended_how(run: Run) -> str:
    """Say how an ended Run ended, in the system's words where there are any."""
    if run.error is not None:
        return f"cannot run: {run.error}"
    if run.unfit is not None:
        return run.unfit
    return spell_exit(run.exit) if run.state is not State.STOPPED else "was stopped"


def never_ran(run: Run) -> bool:
    """Whether whiz died between writing the Run down and starting it."""
    return run.ended is not None and run.proc is None and run.error is None and run.keeper is None

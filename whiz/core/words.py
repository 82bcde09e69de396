"""Durations, sizes and signals, as people write them and as people read them."""

from __future__ import annotations

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
# Linux numbers (signal(7)); the core may not ask the machine.
SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15, "WINCH": 28}
_NAMES = (
    {n: name for name, n in SIGNALS.items()}
    | {4: "ILL", 7: "BUS", 8: "FPE", 11: "SEGV", 13: "PIPE", 14: "ALRM"}
    | {24: "XCPU", 25: "XFSZ", 31: "SYS"}
)


def _split(text: str) -> tuple[float, str]:
    """Split '1.5 s' into (1.5, 's'); raise ValueError on anything else."""
    head = text.strip()
    unit = head.lstrip("0123456789.")
    digits = head[: len(head) - len(unit)]
    if not digits or digits.count(".") > 1 or digits == ".":
        raise ValueError(text)
    number = float(digits)
    if number > 1e15:  # noqa: PLR2004  thirty million years, or a petabyte
        raise ValueError(text)
    return number, unit.strip()


def duration(text: str) -> float:
    """Return the seconds in '1.5s', '2m', '1h', '500ms' or a bare number; raise ValueError."""
    number, unit = _split(text)
    if unit and unit not in _SECONDS:
        raise ValueError(text)
    return number * _SECONDS[unit or "s"]


def size(text: str) -> int:
    """Return the bytes in '64MB', '1.5GiB' or a bare number; raise ValueError."""
    number, unit = _split(text)
    known = {u.lower(): n for u, n in _BYTES.items()} | {"k": 10**3, "m": 10**6, "g": 10**9}
    if unit.lower() not in known:
        raise ValueError(text)
    return round(number * known[unit.lower()])


def share(text: str) -> float:
    """Return the part of one core in '50%' or '250%'; raise ValueError."""
    number, unit = _split(text)
    if unit != "%" or not 1 <= number <= 100_000:  # noqa: PLR2004  the kernel's least, and a thousand cores
        raise ValueError(text)
    return number / 100


def spell_seconds(seconds: float) -> str:
    """Say a duration with at most two units: 12 s, 3 min 5 s, 2 d 4 h."""
    whole = max(0, round(seconds))
    if 0 < seconds < 10 and seconds != whole:  # noqa: PLR2004  below ten seconds a tenth matters
        return f"{seconds:.1f} s"
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        n, whole = divmod(whole, length)
        if n or (unit == "s" and not parts):
            parts.append(f"{n} {unit}")
    return " ".join(parts[:2])


def spell_bytes(n: float) -> str:
    """Say a size in decimal units: 812 B, 3.4 MB."""
    units = ["GB", "MB", "kB", "B"]
    while n >= 1000 and len(units) > 1:  # noqa: PLR2004
        n /= 1000
        units.pop()
    unit = units[-1]
    return f"{n:.0f} {unit}" if unit == "B" or n >= 100 else f"{n:.1f} {unit}"  # noqa: PLR2004


def counted(n: int, what: str) -> str:
    """Say how many: 1 host, 2 hosts."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def spell_exit(code: int | None) -> str:
    """Say how a process ended: 'exited 1', 'killed by SIGTERM'."""
    if code is None:
        return "ended unseen"
    return f"exited {code}" if code >= 0 else f"killed by SIG{_NAMES.get(-code, str(-code))}"


def spell_times(n: int) -> str:
    """Say how often: once, twice, three times, 12 times."""
    words = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times", 6: "six times"}
    return words.get(n, f"{n} times")


def near(word: str, known: object) -> str | None:
    """Return the known word most like this one, or None."""
    from difflib import get_close_matches  # noqa: PLC0415  costs 5 ms and only mistakes need it

    found = get_close_matches(word, [str(k) for k in known], 1)  # type: ignore[attr-defined]
    return found[0] if found else None

"""Programs and Runs as JSON, with a format number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from whiz.core.errors import NewerFormat
from whiz.core.model import PROCESS_FIELDS, Check, Ending, Limits, Log, On, Proc, Program, Restart, Run, Want
from whiz.core.value import defaults, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT = 1
T = TypeVar("T")


def dump(value: object) -> Any:  # noqa: ANN401  JSON has no narrower name
    """Return the JSON shape of a value: values as objects without the fields that hold their default."""
    if hasattr(value, "__match_args__"):
        usual = defaults(type(value))
        held = {name: getattr(value, name) for name in fields(type(value))}
        return {n: dump(v) for n, v in held.items() if n not in usual or v != usual[n]}
    if isinstance(value, tuple | list):
        return [dump(v) for v in value]
    return value


def load(kind: type[T], data: object) -> T:
    """Return the value that `dump` wrote; raise ValueError when the data is not of its shape."""
    if not isinstance(data, dict):
        raise ValueError(f"{kind.__name__} is not an object")
    known = fields(kind)
    try:
        return kind(**{key: _READ[known[key]](held) for key, held in data.items()})
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"{kind.__name__}: {exc}") from exc


def _exactly(*kinds: type) -> Callable[[object], object]:
    """Return a reader that lets only values of these very types through (True is no number)."""

    def read(value: object) -> object:
        if type(value) not in kinds:
            raise ValueError(f"{value!r} is not {' or '.join(k.__name__ for k in kinds)}")
        return value

    return read


def _number(value: object) -> object:
    if type(value) not in (int, float) or not abs(value) < _MOST:  # type: ignore[arg-type]
        raise ValueError(f"{value!r} is not a number to be believed")
    return value


def _whole(value: object) -> object:
    return _number(_exactly(int)(value))


def _or_none(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else read(value)


def _many(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: tuple(read(v) for v in _exactly(list, tuple)(value))  # type: ignore[attr-defined]


def _of(kind: type) -> Callable[[object], object]:
    return lambda value: load(kind, value)


def _process(value: object) -> Proc:
    proc = load(Proc, value)
    if not 0 < proc.pid < 2**31:
        raise ValueError(f"no process has pid {proc.pid}")
    return proc


def load_proc(words: object) -> Proc:
    """Return the process that a chaperone names: boot id, pid, start ticks. Raise ValueError or TypeError."""
    return _process(dict(zip(("boot", "pid", "ticks"), words, strict=True)))  # type: ignore[call-overload]


_MOST = 1e15
_TEXT = _exactly(str)
# how a field is read, by the words of its annotation
_READ: Mapping[str, Callable[[object], object]] = {
    "str": _TEXT,
    "str | None": _or_none(_TEXT),
    "int": _whole,
    "int | None": _or_none(_whole),
    "float": _number,
    "float | None": _or_none(_number),
    "bool": _exactly(bool),
    "Want": lambda v: Want(str(v)),
    "On": lambda v: On(str(v)),
    "Program": _of(Program),
    "Restart": _of(Restart),
    "Ending": _of(Ending),
    "Limits": _of(Limits),
    "Log": _of(Log),
    "Check | None": _or_none(_of(Check)),
    "Proc | None": _or_none(_process),
    "tuple[Proc, ...]": _many(_process),
    "tuple[str, ...]": _many(_TEXT),
    "tuple[int, ...]": _many(_whole),
    "tuple[tuple[str, str], ...]": _many(_many(_TEXT)),
}


def dump_runs(runs: tuple[Run, ...]) -> dict[str, object]:
    """Return the record of one name's Runs."""
    return {"format": FORMAT, "runs": [dump(r) for r in runs]}


def load_runs(data: object) -> tuple[Run, ...]:
    """Return the Runs of one record; raise ValueError (corrupt) or NewerFormat (refused)."""
    runs = expect(data).get("runs")
    if not isinstance(runs, list):
        raise ValueError("a record without runs")
    return tuple(load(Run, r) for r in runs)


def expect(data: object) -> dict[str, Any]:
    """Return data as an object of this format; raise ValueError or NewerFormat."""
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise ValueError("no format number")
    if data["format"] > FORMAT:
        raise NewerFormat(f"format {data['format']} was written by a newer whiz; this one knows {FORMAT}")
    return data


def digest(program: Program) -> str:
    """Return 12 hex digits that tell apart what `same_process` tells apart."""
    import json  # noqa: PLC0415  what a quiet turn need not pay

    from whiz.core.digest import sha256  # noqa: PLC0415

    held = {f: dump(getattr(program, f)) for f in PROCESS_FIELDS if f != "says" or program.says}  # as before it came
    held |= {"to": program.log.to, "task": program.want is Want.DONE}
    return sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]

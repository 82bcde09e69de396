"""Programs and Runs as JSON, with a format number."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

from whiz.core.errors import NewerFormat
from whiz.core.model import PROCESS_FIELDS, Ending, Limits, Log, On, Proc, Program, Restart, Run, Want

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT = 1
T = TypeVar("T")


def dump(value: object) -> Any:  # noqa: ANN401  JSON has no narrower name
    """Return the JSON shape of a value: dataclasses as objects without the fields that hold their default."""
    if hasattr(value, "__dataclass_fields__"):
        out = {}
        for f in fields(value):  # type: ignore[arg-type]
            held = getattr(value, f.name)
            if f.default is MISSING or held != f.default:
                out[f.name] = dump(held)
        return out
    if isinstance(value, tuple | list):
        return [dump(v) for v in value]
    return value


def load(kind: type[T], data: object) -> T:
    """Return the dataclass that `dump` wrote; raise ValueError when the data is not of its shape."""
    if not isinstance(data, dict):
        raise ValueError(f"{kind.__name__} is not an object")
    try:
        return kind(**{key: _INNER.get(key, _tuples)(held) for key, held in data.items()})
    except TypeError as exc:
        raise ValueError(f"{kind.__name__}: {exc}") from exc


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _proc(data: object) -> Proc | None:
    return None if data is None else load(Proc, data)


def _procs(data: object) -> tuple[Proc, ...]:
    return tuple(load(Proc, p) for p in data) if isinstance(data, list) else ()


def _stop_or_number(data: object) -> object:
    return load(Ending, data) if isinstance(data, dict) else data


_INNER: Mapping[str, Callable[[object], object]] = {
    "program": lambda d: load(Program, d),
    "want": lambda d: Want(str(d)),
    "on": lambda d: On(str(d)),
    "restart": lambda d: load(Restart, d),
    "stop": _stop_or_number,
    "limits": lambda d: load(Limits, d),
    "log": lambda d: load(Log, d),
    "proc": _proc,
    "keeper": _proc,
    "left": _procs,
    "told": _procs,
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
    import hashlib  # noqa: PLC0415  5 ms that a quiet turn need not pay
    import json  # noqa: PLC0415

    held = {f: dump(getattr(program, f)) for f in PROCESS_FIELDS}
    held |= {"to": program.log.to, "task": program.want is Want.DONE}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]

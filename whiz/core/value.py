"""Frozen, slotted values made without generating source.

As `dataclasses` would make them, for everything that a quiet turn loads: importing that module and letting it write
and compile each class costs 20 ms, a quarter of a whole `whiz apply` with nothing to do. Type checkers see dataclasses.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(kind: type[T]) -> type[T]:
    """Make a class of annotated fields, some with defaults, into a frozen value with slots."""
    return _made(kind)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(kind: type[T]) -> type[T]:
    """Make a value whose fields are to be given by name: for the larger ones."""
    return _made(kind)


def replace(held: T, /, **changes: Any) -> T:  # noqa: ANN401  as in dataclasses
    """Return the value with some fields changed."""
    names: tuple[str, ...] = held.__match_args__  # type: ignore[attr-defined]
    return type(held)(**{n: getattr(held, n) for n in names} | changes)


def fields(kind: type) -> dict[str, str]:
    """Return field -> annotation, as it is written."""
    return {
        n: str(getattr(a, "__forward_arg__", a)) for n, a in kind.__annotations__.items()
    }  # a NamedTuple wraps them


def defaults(kind: type) -> dict[str, object]:
    """Return field -> default, for those that have one."""
    return getattr(kind, "__defaults__", {})


def _made(kind: type[T]) -> type[T]:
    names = tuple(kind.__annotations__)
    given = {n: kind.__dict__[n] for n in names if n in kind.__dict__}
    key = attrgetter(*names)
    put = object.__setattr__

    def init(self: object, *args: object, **words: object) -> None:
        for name, held in zip(names, args):  # noqa: B905  the rest comes by name
            put(self, name, held)
        if len(args) == len(names) and not words:
            return
        for name in names[len(args) :]:
            if name in words:
                put(self, name, words.pop(name))
            elif name in given:
                put(self, name, given[name])
            else:
                raise TypeError(f"{kind.__name__} needs {name}")
        if words or len(args) > len(names):
            raise TypeError(f"{kind.__name__} has no field for {', '.join(words) or args[len(names) :]}")

    def equal(self: object, other: object) -> bool:
        return self is other or (type(self) is type(other) and bool(key(self) == key(other)))

    def shown(self: object) -> str:
        held = {n: getattr(self, n) for n in names}
        said = (f"{n}={v!r}" for n, v in held.items() if n not in given or given[n] != v)
        return f"{kind.__name__}({', '.join(said)})"

    space = {k: v for k, v in kind.__dict__.items() if k not in given and k not in ("__dict__", "__weakref__")}
    space |= {"__slots__": names, "__match_args__": names, "__defaults__": given, "__init__": init, "__eq__": equal}
    space |= {
        "__hash__": lambda self: hash(key(self)),
        "__repr__": shown,
        "__setattr__": _frozen,
        "__delattr__": _frozen,
    }
    made: type[T] = type(kind.__name__, kind.__bases__, space)
    return made


def _frozen(self: object, name: str, *_: object) -> NoReturn:
    raise AttributeError(f"{type(self).__name__}.{name}: a value cannot be changed")

"""Who comes before whom: cycles in `after`, and the order of starts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def _walk(after: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield ('done', [name]) in dependency order and ('cycle', path) for every edge that closes one."""
    state: dict[str, int] = {}  # 1 on the path, 2 done
    for root in after:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if root not in state:
            state[root] = 1
            path.append(root)
            stack.append((root, iter(after[root])))
        while stack:
            name, rest = stack[-1]
            for other in rest:
                if other not in after:
                    continue
                if other not in state:
                    state[other] = 1
                    path.append(other)
                    stack.append((other, iter(after[other])))
                    break
                if state[other] == 1:
                    yield "cycle", [*path[path.index(other) :], other]
            else:
                stack.pop()
                path.pop()
                state[name] = 2
                yield "done", [name]


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names, each behind what it comes after, else as given. An edge that closes a cycle is ignored."""
    return [path[0] for kind, path in _walk(after) if kind == "done"]


def cycles(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return each cycle found as a path that ends where it began."""
    return [path for kind, path in _walk(after) if kind == "cycle"]

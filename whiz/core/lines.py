"""The line form of a whizzifest: `processName|destination`."""

from __future__ import annotations

from whiz.core.shape import Node, Report, good_name


def parse_lines(text: str, report: Report) -> Node:
    """Return the tree of a `processName|destination` file, the same that its YAML form would give."""
    pairs = []
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, bar, destination = raw.partition("|")
        key = Node("str", name.strip(), number, 1 + len(name) - len(name.lstrip()))
        value = Node("str", destination.strip(), number, len(name) + 2)
        if not bar:
            report.at(key, "no '|' between name and destination", "write processName|destination")
        elif not key.value:
            report.at(key, "the name before '|' is empty", "write processName|destination")
        elif not value.value:
            report.at(value, "the destination after '|' is empty", "write a path with optional arguments")
        elif "/" in key.value and good_name(value.value):
            report.at(key, "the path stands before the name", f"write {value.value}|{key.value}")
        else:
            pairs.append((key, Node("map", [(Node("str", "run", number, 1), value)], number, value.column)))
    programs = Node("map", pairs, 1, 1)
    return Node("map", [(Node("str", "programs", 1, 1), programs)], 1, 1)

"""YAML text to Nodes with places: the one module that knows PyYAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from whiz.core.shape import Node

if TYPE_CHECKING:
    from whiz.core.shape import Report

_KINDS = {
    "tag:yaml.org,2002:str": "str",
    "tag:yaml.org,2002:int": "int",
    "tag:yaml.org,2002:float": "float",
    "tag:yaml.org,2002:bool": "bool",
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:timestamp": "str",
    "tag:yaml.org,2002:value": "str",
}
_TAGS = {*_KINDS, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:merge"}
_DEPTH = 100
_MOST = 200_000  # nodes that aliases repeat: a file of ten lines can mean a billion


def parse_yaml(text: str, report: Report) -> Node | None:
    """Return the tree of the one document in the text, None where there is none; report what is wrong."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = text.removeprefix("\ufeff")
        _refuse_depth(text, loader)
        root = yaml.compose(text, Loader=loader)
        return None if root is None else _Walk(report).node(root, ())
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = Node("null", None, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)
        report.at(place, f"not YAML: {exc.problem or exc.context}")
    except (yaml.YAMLError, RecursionError) as exc:
        report.at(Node("null", None, 1, 1), f"not YAML: {exc}")
    return None


def _refuse_depth(text: str, loader: type[yaml.SafeLoader]) -> None:
    """Raise YAMLError where composing would recurse until the stack ends: the C library does not look."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH:
                raise yaml.YAMLError(f"nested deeper than {_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Walk:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._left = _MOST
        self._seen: set[int] = set()

    def node(self, node: yaml.Node, above: tuple[int, ...]) -> Node:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._left -= id(node) in self._seen
        self._seen.add(id(node))
        if id(node) in above or self._left <= 0:
            raise yaml.YAMLError("aliases that lead back to themselves or multiply without end")
        above = (*above, id(node))
        if node.tag not in _TAGS:
            self._report.at(Node("str", "", line, column), f"the tag {node.tag} is not known here", "remove it")
        if isinstance(node, yaml.MappingNode):
            return Node("map", [(self.node(k, above), self.node(v, above)) for k, v in node.value], line, column)
        if isinstance(node, yaml.SequenceNode):
            return Node("list", [self.node(v, above) for v in node.value], line, column)
        if node.tag == "tag:yaml.org,2002:merge":
            self._report.at(Node("str", "<<", line, column), "merge keys are not read", "use defaults:")
            return Node("str", node.value, line, column)
        return Node(_KINDS.get(node.tag, "str"), node.value, line, column)

"""The files that name hosts: fleet.yaml, Ansible's inventories, ssh's configuration."""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING, Any

from whiz.core.errors import UsageError
from whiz.core.fleet import ansible, ansible_ini, fleetfile, sshconfig
from whiz.core.fleet.draft import ALL, Draft, fleet
from whiz.core.manifest import Document
from whiz.core.shape import Node, Report, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.fleet.model import Fleet

_DEEP = 8  # includes within includes
_MOST = 16 * 2**20  # bytes of one file
_ENDS = re.compile(r"\.(ya?ml|json)$")
_SSH = re.compile(r"^\s*host\s+[^=\n]+$", re.IGNORECASE | re.MULTILINE)
_SECTION = re.compile(r"^\s*\[", re.MULTILINE)


class Files:
    """One fleet with all files that it is made of."""

    def __init__(self, parse_yaml: Callable[[str, Report], Node | None], ssh: str = "~/.ssh/config") -> None:
        self._parse_yaml = parse_yaml
        self._ssh = os.path.expanduser(ssh)
        self._reports: list[Report] = []
        self._draft = Draft()
        self._read: set[str] = set()
        self._parts: dict[str, Report] = {}  # what ssh's own Include named

    def load(self, path: str) -> Fleet:
        """Return the fleet that a file names; raise ManifestError with every mistake of every file."""
        path = os.path.abspath(os.path.expanduser(path))
        if not os.path.exists(path):
            raise UsageError(f"{path}: no such file\nhint: write hosts: into it, or name another by --fleet FILE")
        self._file(path, None, 0)
        known: dict[str, dict[str, Any]] = {}
        if os.path.isfile(self._ssh):
            held = sshconfig.lines(self._report(self._ssh, None), self._included)
            known = {name: sshconfig.options(name, held) for name in self._draft.hosts}
        return fleet(self._draft, self._reports, known)

    def _report(self, path: str, place: tuple[Node, Report] | None) -> Report:
        """Read a file's lines; a file that cannot be read is a problem where it was named."""
        report = Report(path)
        self._reports.append(report)
        try:
            with open(path, "rb") as f:
                data = f.read(_MOST + 1)
            report.lines = data.decode("utf-8-sig").splitlines()
            why = f"it is larger than {_MOST // 2**20} MiB" if len(data) > _MOST else ""
        except (OSError, UnicodeDecodeError) as exc:
            why = str(exc.strerror) if isinstance(exc, OSError) else f"not UTF-8: byte {exc.start + 1}"
        if why:
            node, where = place or (Node("null", None, 0, 0), report)
            where.at(node, f"{path} cannot be read: {why}")
        return report

    def _file(self, path: str, place: tuple[Node, Report] | None, depth: int) -> None:
        """Add what a file says, in whichever form it is."""
        if (real := os.path.realpath(path)) in self._read:
            return
        self._read.add(real)
        report = self._report(path, place)
        text = "\n".join(report.lines)
        if path.endswith((".yaml", ".yml", ".json")):
            document = Document(path, self._parse_yaml(text, report), report)
            if ansible.is_inventory(document.root):
                ansible.read(document, self._draft)
                self._variables(path)
            elif not report.problems:
                fleetfile.read(document, self._draft)
                self._includes(document, depth)
        elif text.startswith("#!"):
            report.at(Node("str", text, 1, 1), "a script is not run", "write its answer to a file, and name that")
        elif _SSH.search(text) and not _SECTION.search(text):
            for line in sshconfig.names(held := sshconfig.lines(report, self._included)):
                for name in line.words:
                    self._draft.host(name, line.node, line.report).take(sshconfig.options(name, held))
        else:
            ansible_ini.read(report, self._draft)
            self._variables(path)

    def _includes(self, document: Document, depth: int) -> None:
        for node in fleetfile.includes(document):
            pattern = os.path.join(os.path.dirname(document.path), os.path.expanduser(node.value))
            found = sorted(glob.glob(pattern)) or [pattern]
            if depth >= _DEEP:
                document.report.at(node, f"includes go deeper than {_DEEP} files")
                continue
            for path in found:
                self._file(path, (node, document.report), depth + 1)

    def _included(self, pattern: str) -> list[Report]:
        """Return the files that an Include of ssh's means."""
        path = os.path.join(os.path.dirname(self._ssh), os.path.expanduser(pattern))
        for file in (found := sorted(glob.glob(path))):
            if file not in self._parts:
                self._parts[file] = self._report(file, None)
        return [self._parts[file] for file in found]

    def _variables(self, path: str) -> None:
        """Add what stands in group_vars/ and host_vars/ beside an inventory."""
        for folder, among in (("group_vars", self._draft.groups), ("host_vars", self._draft.hosts)):
            for place in sorted(glob.glob(f"{glob.escape(os.path.dirname(path))}/{folder}/*")):
                whose = os.path.basename(place)
                files = sorted(glob.glob(f"{glob.escape(place)}/*")) if os.path.isdir(place) else [place]
                whose = whose if os.path.isdir(place) else _ENDS.sub("", whose)
                if folder == "group_vars" and whose == ALL:
                    self._draft.group(ALL, Node("str", ALL, 0, 0), Report(path))
                for file in files if whose in among else ():
                    report = self._report(file, None)
                    root = self._parse_yaml("\n".join(report.lines), report)
                    if root is not None and root.kind == "map":
                        ansible.take(among[whose], list(unique(root, report)), report, self._draft)

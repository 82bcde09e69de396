"""Manifest files: read when whole and safe, kept as the last good when right, never lost when wrong."""

from __future__ import annotations

import errno
import glob
import os
from typing import TYPE_CHECKING

from whiz import __version__
from whiz.core.errors import ManifestError, NewerFormat, Problem
from whiz.core.model import Manifest, Program
from whiz.core.wire import FORMAT, dump, expect, load
from whiz.world import disk
from whiz.world.sources.loaded import Hooks, Loaded, as_now, fresh, hooks_of, matches, times

__all__ = ["Loaded", "Source", "as_now", "fresh", "hooks_of"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whiz.core.manifest import Document, Identity
    from whiz.core.shape import Node, Report

PATIENCE = 2.0  # s given to somebody who has the file open for writing
_NAMES = ("whizzifest", "whizzifest.yaml", "whizzifest.yml")
_DEEP = 8  # includes within includes


class Source:
    """One manifest file with what it includes, and its last good copy in the state directory."""

    def __init__(
        self,
        path: str,
        config: str,
        state: str,
        parse_yaml: Callable[[str, Report], Node | None],
        patience: float = PATIENCE,
    ) -> None:
        self._parse_yaml, self._patience, self._busy = parse_yaml, patience, False
        self.path = os.path.abspath(path)
        self._node = os.path.join(config, "node.yaml")
        self._good = os.path.join(
            state, "manifest", self.path.strip("/").replace("%", "%25").replace("/", "%2F") + ".json"
        )
        self._texts: dict[str, str] = {}
        self._hooks: Hooks = ()
        self._asked: dict[str, tuple[int, ...]] = {}  # every file that was to be read, as it was just before
        self._globs: dict[str, list[str]] = {}
        self._globs_before: dict[str, list[str]] = {}
        self._before: frozenset[str] = frozenset()  # the files that the last good copy was made of
        # what quesofiesta has laid out lies beneath the whizzifest of the home, not beneath one that -m names
        beneath = os.path.dirname(self.path) == os.path.abspath(config)
        self._released = f"{glob.escape(os.path.abspath(state))}/apps/*/current/whizzifest*" if beneath else ""

    def load(self, *, allow_empty: bool = False, keep: bool = True) -> Loaded:
        """Return the manifest in force; raise ManifestError when there is none, not even a last good one."""
        if (same := self.unchanged()) is not None:
            return same
        good = self._last_good()
        try:
            if good is not None and isinstance(good["globs"], dict):
                self._globs_before = good["globs"]
            if good is not None and isinstance(good["texts"], dict):
                self._before = frozenset(good["texts"])
            self._texts, self._globs = {}, {}
            manifest = self._parse(allow_empty=allow_empty)
        except ManifestError as exc:
            if good is None:
                raise
            return self._loaded(_programs(good), exc.problems)
        failed = self._keep(manifest) if keep else None
        return self._loaded(manifest, kept=failed, changed=True)

    def unchanged(self) -> Loaded | None:
        """Return the manifest in force where every file reads as it did when it was last right: nothing is parsed."""
        good = self._last_good()
        if good is None:
            return None
        self._hooks = hooks_of(good.get("hooks"))
        try:
            return self._loaded(_programs(good)) if self._same(good) else None
        except ManifestError:
            return None

    def _loaded(
        self, manifest: Manifest, problems: tuple[Problem, ...] = (), kept: str | None = None, *, changed: bool = False
    ) -> Loaded:
        globs = tuple((pattern, tuple(found)) for pattern, found in self._globs.items())
        return Loaded(manifest, problems, kept, changed, tuple(self._asked.items()), globs, self._busy, self._hooks)

    def _last_good(self) -> dict[str, object] | None:
        """Return the kept copy, None where there is none that can be used."""
        try:
            held = disk.read_json(self._good)
            if held is None:
                return None
            good = expect(held)
            _programs(good)
        except NewerFormat as exc:
            raise NewerFormat(f"{self._good}: {exc}; upgrade whiz, or remove the file") from exc
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return good

    def _same(self, good: dict[str, object]) -> bool:
        """Whether every file reads as it did when the last good copy was made."""
        texts, globs = good["texts"], good["globs"]
        self._globs = dict(globs) if isinstance(globs, dict) else {}
        if good.get("whiz") != __version__ or not isinstance(texts, dict) or not isinstance(globs, dict):
            return False
        if any(matches(pattern) != paths for pattern, paths in globs.items()):
            return False
        return all(self._text(path, missing="" if path == self._node else None) == text for path, text in texts.items())

    def _keep(self, manifest: Manifest) -> str | None:
        held = {"format": FORMAT, "whiz": __version__, "source": self.path, "texts": self._texts, "globs": self._globs}
        held["programs"] = [dump(p) for p in manifest.values()]
        held["hooks"] = self._hooks
        import json  # noqa: PLC0415

        try:
            disk.make(os.path.dirname(self._good), 0o700)
            disk.write(self._good, json.dumps(held), durable=True)
        except OSError as exc:
            return f"{self._good}: {exc.strerror}"
        return None

    def _parse(self, *, allow_empty: bool) -> Manifest:
        from whiz.core.manifest import build, hooks, includes, mentions  # noqa: PLC0415  a quiet turn parses nothing

        node, node_problems = self._identity()
        documents = self._layers(allow_empty=allow_empty)
        for document in documents[1:]:
            if not document.report.problems and not mentions(document) and not includes(document) and not allow_empty:
                hint = "remove it, or pass --allow-empty if it is meant so"
                document.report.problems.append(
                    Problem(document.path, 0, 0, "it is empty: it names no program", "", hint)
                )
        try:
            manifest = build(documents, node)
        except ManifestError as exc:
            raise ManifestError((*node_problems, *exc.problems)) from None
        if node_problems:
            raise ManifestError(node_problems)
        if not allow_empty and not any(mentions(d) for d in documents):
            hint = "pass --allow-empty if it is meant so"
            raise ManifestError((Problem(self.path, 0, 0, "the whizzifest is empty: it names no program", "", hint),))
        self._hooks = tuple(hooks(documents).items())
        return manifest

    def _layers(self, *, allow_empty: bool) -> list[Document]:
        """Return the node's own documents, then those released to it. Where there are such, it may have none."""
        from whiz.core.manifest import Document  # noqa: PLC0415
        from whiz.core.shape import Report  # noqa: PLC0415

        found, before = matches(self._released), self._globs_before.get(self._released, [])
        if self._released:
            self._globs[self._released] = found
        released = [p for p in found if os.path.basename(p) in _NAMES]
        alone = not os.path.lexists(self.path) and (allow_empty or self.path not in self._before)
        if alone and (released or (before and self.path not in self._before)):  # all there is, or was, was released
            documents = [] if released else [Document(self.path, None, Report(self.path))]
        else:
            documents = list(self._documents(self.path, 0, []))
        for i, path in enumerate(released, 1):
            for document in self._documents(path, 0, []):
                document.layer = i
                documents.append(document)
        if gone := [] if allow_empty else sorted({*before} - {*found}):
            hint = "quesofiesta pull brings it back; --allow-empty says that it is meant to be gone"
            documents[0].report.problems += [Problem(p, 0, 0, "what was released is gone", "", hint) for p in gone]
        return documents

    def _identity(self) -> tuple[Identity, tuple[Problem, ...]]:
        from whiz.core import keys  # noqa: PLC0415
        from whiz.core.manifest import Identity  # noqa: PLC0415
        from whiz.core.shape import BAD, Report  # noqa: PLC0415

        text = self._text(self._node, missing="")
        if not text.strip():
            return Identity(), ()
        report = Report(self._node, text.splitlines())
        root = self._parse_yaml(text, report)
        read = keys.NODE.read(root, report) if root is not None else {}
        if read is BAD or report.problems:
            return Identity(), tuple(report.problems)
        return Identity(**read), ()

    def _documents(self, path: str, depth: int, above: list[str]) -> Iterator[Document]:
        """Yield the document at a path and those it includes, in sorted order."""
        from whiz.core.lines import parse_lines  # noqa: PLC0415
        from whiz.core.manifest import Document, includes  # noqa: PLC0415
        from whiz.core.shape import Report  # noqa: PLC0415

        report = Report(path)
        document = Document(path, None, report)
        if path in above or depth > _DEEP:
            report.problems.append(Problem(path, 0, 0, f"includes itself: {' → '.join([*above, path])}"))
            yield document
            return
        try:
            text = self._text(path)
        except ManifestError as exc:
            report.problems += exc.problems
            yield document
            return
        report.lines = text.removeprefix("\ufeff").splitlines()
        if path.endswith((".yaml", ".yml")):
            document.root = self._parse_yaml(text, report)
        else:
            document.root = parse_lines(text, report)
        yield document
        for pattern, node in includes(document):
            for other in self._included(pattern, node, document):
                yield from self._documents(other, depth + 1, [*above, path])

    def _included(self, pattern: str, node: Node, document: Document) -> list[str]:
        """Return the files that a pattern means; report what may only be away for a moment, or by mistake."""
        whole = os.path.join(glob.escape(os.path.dirname(document.path)), pattern)
        found = matches(whole)
        before = self._globs_before.get(whole, [])
        self._globs[whole] = found
        report = document.report
        if not glob.has_magic(pattern):
            if not found:
                report.at(node, f"includes {pattern!r}, but there is no such file")
        elif not os.path.isdir(folder := os.path.dirname(os.path.join(os.path.dirname(document.path), pattern))):
            report.at(node, f"includes {pattern!r}, but there is no directory {folder}")
        for path in sorted({*before} - {*found}):
            head, name = os.path.split(path)
            if any(os.path.lexists(p) for p in (f"{path}~", f"{head}/.{name}.swp", f"{head}/#{name}#")):
                report.at(
                    node, f"{path} is gone, but an editor's copy is there: is it being saved?", "or remove the copy"
                )
        for path in sorted(glob.glob(whole)):
            if os.path.islink(path) and not os.path.exists(path):
                report.at(node, f"{path} is a link to nothing", "remove it or mend it")
        return found

    def _text(self, path: str, missing: str | None = None) -> str:
        """Return a file's text, remembered for the last good copy; raise ManifestError in the system's words."""
        self._asked[path] = times(path)
        try:
            if os.getuid() == 0:
                disk.refuse_foreign(path)
            data = disk.settled(path, self._patience)
        except FileNotFoundError:
            if missing is None:
                raise ManifestError((Problem(path, 0, 0, "there is no such file", "", self._hint(path)),)) from None
            data = missing.encode()
        except OSError as exc:
            self._busy = self._busy or exc.errno == errno.EBUSY
            raise ManifestError((Problem(path, 0, 0, exc.strerror or str(exc)),)) from None
        try:
            text = data.decode()
        except UnicodeDecodeError as exc:
            line, column = data.count(b"\n", 0, exc.start) + 1, exc.start - data.rfind(b"\n", 0, exc.start)
            text = data.splitlines()[line - 1].decode(errors="backslashreplace")
            said = f"byte {data[exc.start]:#x} is not UTF-8 text"
            raise ManifestError((Problem(path, line, column, said, text, "save the file as UTF-8"),)) from None
        self._texts[path] = text
        return text

    def _hint(self, path: str) -> str:
        beside = os.path.abspath(os.path.basename(path))
        if beside != path and disk.is_file(beside):
            return f"there is one here: pass -m {os.path.basename(path)}"
        return "write one line per program, processName|destination, or name the file with -m"


def _programs(good: dict[str, object]) -> Manifest:
    programs = good["programs"]
    assert isinstance(programs, list)  # noqa: S101  checked when it was read
    return {p.name: p for p in (load(Program, d) for d in programs)}

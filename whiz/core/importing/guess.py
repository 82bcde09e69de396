"""Which format a file has, by its name and by what it says."""

from __future__ import annotations

import posixpath
import re

from whiz.core.errors import UsageError
from whiz.core.importing.jsontree import HINT
from whiz.core.importing.ledger import refuse

FORMATS = ("supervisor", "procfile", "pm2", "systemd", "older", "hitlist")
_UNIT = re.compile(r"\.(socket|path|mount|automount|target|slice|scope|swap|device|network|netdev|link)")
_SECTION = re.compile(r"^\[([\w-]+)(?::[^\]]*)?\]\s*$", re.MULTILINE)
_SUPERVISOR = ("program", "supervisord", "fcgi-program", "eventlistener", "group", "unix_http_server", "supervisorctl")
_COMPOSE = "its containers are Docker's to keep (restart: unless-stopped)"


def guess(file: str, text: str) -> str:
    """Return the format of a file; raise WhizError for one that is none of ours, with what to do instead."""
    name = posixpath.basename(file).lower()
    _refuse(file, name, text)
    if name.endswith((".service", ".timer")):
        return "systemd"
    if name == "procfile" or name.startswith("procfile.") or name.endswith(".procfile"):
        return "procfile"
    if "hitlist" in name:
        return "hitlist"
    if re.fullmatch(r"(supervisord?.*|.*)\.(conf|ini)", name) and _sections(text) & set(_SUPERVISOR):
        return "supervisor"
    if name.endswith((".json", ".json5")) or name.startswith("ecosystem.") or "pm2" in name:
        return "pm2"
    return _by_text(file, text)


def _sections(text: str) -> set[str]:
    return set(_SECTION.findall(text))


def _by_text(file: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    found = _sections(text)
    if found & {"Service", "Timer"}:
        return "systemd"
    if found & set(_SUPERVISOR):
        return "supervisor"
    if lines and lines[0][0] in "{[" and not found:
        return "pm2"
    if lines and all("|" in line for line in lines):
        return "older"
    if lines and all(re.match(r"[A-Za-z0-9_-]+:\s*\S", line) for line in lines):
        return "procfile"
    known = ", ".join(FORMATS)
    raise UsageError(f"{file}: neither its name nor its text tells the format\nhint: --format with one of {known}")


def _refuse(file: str, name: str, text: str) -> None:
    """Refuse what cannot be translated, in words that lead on."""
    if "compose" in name and name.endswith((".yml", ".yaml")):
        hint = f'let Docker keep them, or have whiz keep it: run: "docker compose -f {file} up", stop: {{grace: 30s}}'
        raise refuse(file, 0, f"a compose file describes containers, not programs; {_COMPOSE}", hint=hint)
    if re.search(r"\.(js|cjs|mjs|ts)$", name):
        hint = HINT.replace("./ecosystem.config.js", f"./{posixpath.basename(file)}")
        raise refuse(file, 0, "it is a program, which whiz does not run to read it", hint=hint)
    if (kind := _UNIT.search(name)) is not None and name.endswith(kind[0]):
        hint = "import the .service and .timer units"
        raise refuse(file, 0, f"whiz keeps programs, and a {kind[0]} unit is none", hint=hint)
    if re.search(r"^services:\s*$", text, re.MULTILINE) and name.endswith((".yml", ".yaml")):
        hint = f'let Docker keep them, or have whiz keep it: run: "docker compose -f {file} up"'
        raise refuse(file, 0, f"it looks like a compose file: containers, not programs; {_COMPOSE}", hint=hint)

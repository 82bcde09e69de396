"""A manifest's Programs completed with what other files hold: kept apart so that a quiet turn parses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.model import Manifest


def complete(
    manifest: Manifest, digests: Mapping[str, str], secrets: Mapping[str, tuple[tuple[str, str], ...]]
) -> Manifest:
    """Return the manifest with what the programs' own files and env_files are made of."""
    out = {}
    for name, p in manifest.items():
        if p.files or p.env_file:
            made_of = tuple((f, digests.get(f, "")) for f in p.files)
            p = replace(p, digests=made_of, secrets=secrets.get(p.env_file or "", ()))  # noqa: PLW2901
        out[name] = p
    return out

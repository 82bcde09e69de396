"""The `quesofiesta` command. A pull with nothing to do ends here, before what all the others need is loaded."""

from __future__ import annotations

import sys

from whiz.core.errors import WhizError
from whiz.world.home import home
from whiz.world.release.quick import unchanged


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if (said := _unchanged(words)) is not None:
            if said:
                print(said, flush=True)  # noqa: T201
            return 0
    except (OSError, KeyboardInterrupt) as exc:
        return _cut(exc)
    from whiz.face.quesofiesta.calling import call  # noqa: PLC0415  which loads all that a pull may need

    return call(words)


def _unchanged(words: list[str]) -> str | None:
    """Return what a pull by these words says that has nothing to do; None where it is to be found out."""
    given = _given(words)
    if given is None:
        return None
    where, quiet = given
    try:
        at = home(where)
    except WhizError:
        return None
    said = unchanged((f"{at.config}/quesofiesta.yaml", f"{at.config}/node.yaml"), at.run, at.state)
    return "" if said is not None and quiet else said


def _given(words: list[str]) -> tuple[str | None, bool] | None:
    """Return the home and whether to be quiet; None for words of any other kind."""
    where, quiet, pulls, rest = None, False, False, iter(words)
    for word in rest:
        if word in ("-q", "--quiet"):
            quiet = True
        elif word == "pull" and not pulls:
            pulls = True
        elif word == "--home" and pulls:
            where = next(rest, "")
            if not where or where.startswith("-"):
                return None
        else:
            return None
    return (where, quiet) if pulls else None


def _cut(exc: BaseException) -> int:
    """Say that it was interrupted, or that nobody listens, as every command does."""
    from whiz.face import voice  # noqa: PLC0415

    voice.NAME = "quesofiesta"
    if isinstance(exc, BrokenPipeError):
        voice.deafen()
        return 141
    voice.warn("interrupted" if isinstance(exc, KeyboardInterrupt) else f"a file: {exc}")
    return 130 if isinstance(exc, KeyboardInterrupt) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The `quesofiesta` command. A pull with nothing to do ends here, before what all the others need is loaded."""

from __future__ import annotations

import sys

from whiz.world.release.quick import unchanged


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if (said := unchanged(words)) is not None:
            if said:
                print(said, flush=True)  # noqa: T201
            return 0
    except (OSError, KeyboardInterrupt) as exc:
        return _cut(exc)
    from whiz.face.quesofiesta.calling import call  # noqa: PLC0415  which loads all that a pull may need

    return call(words)


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

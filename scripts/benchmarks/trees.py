"""A tree of built source, made of words by chance that is the same each time; and changes to it."""

from __future__ import annotations

import os
import random
from pathlib import Path

_BASE = 8 << 20  # bytes of text of which files are slices
_SHARE = 0.3  # of files that are no text, such as compiled ones
_LINE = 9  # words
_RUN = 2048  # bytes of one kind in a file that is no text


class Source:
    """What is released: as many files, of as many bytes in all. Sizes are log-normal, as those of real trees are."""

    def __init__(self, path: str, files: int, size: int) -> None:
        self.path, self._chance = path, random.Random(5)  # noqa: S311  the same each time
        words = ["self", "return", "import", "def", "(", ")", ":", "=", "None", "value", "if", "for", "in", "not", "0"]
        words += ["".join(self._chance.choices("aeioubcdlmnprst", k=self._chance.randint(3, 11))) for _ in range(8000)]
        rarely = [1 / (n + 2) for n in range(len(words))]
        drawn = self._chance.choices(words, rarely, k=_BASE // 7)
        lines = (" ".join(drawn[i : i + _LINE]) for i in range(0, len(drawn), _LINE))
        self._text = "\n    ".join(lines).encode()
        self.files: list[str] = []
        shares = [self._chance.lognormvariate(0, 1.6) for _ in range(files)]
        for n, share in enumerate(shares):
            self._write(n, max(1, int(share * size / sum(shares))))
        self.size = sum(os.path.getsize(p) for p in self.files)

    def _write(self, n: int, size: int) -> None:
        binary = self._chance.random() < _SHARE
        folder = f"{self.path}/lib/part{n % 71:02d}/sub{n % 7}"
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/file{n:05d}{'.so' if binary else '.py'}"
        Path(path).write_bytes(self._mixed(size) if binary else self._slice(size))
        os.chmod(path, 0o755 if n % 50 == 0 else 0o644)
        self.files.append(path)

    def _slice(self, size: int) -> bytes:
        at = self._chance.randrange(len(self._text))
        held = self._text[at : at + size]
        while len(held) < size:
            held += self._text[: size - len(held)]
        return held

    def _mixed(self, size: int) -> bytes:
        """Return bytes that compress to about half, as machine code does."""
        return b"".join(
            (self._chance.randbytes(_RUN) if n % 2 else self._slice(_RUN)) for n in range(size // _RUN + 1)
        )[:size]

    def change(self, number: int) -> None:
        """Change a line in the middle of as many files; of a single one, whose size is the median."""
        held = sorted(self.files, key=os.path.getsize)
        chosen = [held[len(held) // 2]] if number == 1 else self._chance.sample(self.files, number)
        for path in chosen:
            data = Path(path).read_bytes()
            at = len(data) // 2
            Path(path).write_bytes(data[:at] + b"# %d\n" % self._chance.getrandbits(40) + data[at:])

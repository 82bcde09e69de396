"""python -m whiz."""

import sys

from whiz.face.cli import main

sys.exit(main())

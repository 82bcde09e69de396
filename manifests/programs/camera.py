#!/usr/bin/env python3
"""Pretend to be a camera: say every second how many frames went by."""

import argparse
import logging
import time


def main() -> None:
    """Count frames until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=int, default=10, help="frames a second")
    fps = parser.parse_args().fps
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log = logging.getLogger("camera")
    log.info("camera: %d frames a second", fps)
    frames = 0
    while True:
        time.sleep(1)  # the second in which it takes them
        frames += fps
        log.info("camera: %d frames so far", frames)


if __name__ == "__main__":
    main()

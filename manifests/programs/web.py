#!/usr/bin/env python3
"""Greet over HTTP, on this machine only, at the first free port from --port on."""

import argparse
import errno
import logging
from http.server import BaseHTTPRequestHandler, HTTPServer


class Greeting(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """Send the greeting."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"whiz keeps me running\n")


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    port = parser.parse_args().port
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    while True:
        try:
            server = HTTPServer(("127.0.0.1", port), Greeting)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            port += 1  # somebody else serves there
        else:
            break
    logging.getLogger("web").info("web: http://127.0.0.1:%d", port)
    server.serve_forever()


if __name__ == "__main__":
    main()

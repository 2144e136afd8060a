"""Serve S3 on a free loopback port until standard input ends. Runs in moto's own environment.

Usage: python s3_server.py

Prints the port.
"""

from __future__ import annotations

import logging
import sys
import threading


def main() -> None:
    # Only that environment has them, while doctests are sought in this file everywhere.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True)  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()

# Run it: python examples/python/preview.py
"""Serves a web page in a sandbox and fetches it from outside.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os
import urllib.request

from daytona_native import Daytona, SessionExecuteRequest

PORT = 8000
READY = f"for n in $(seq 200); do (: > /dev/tcp/127.0.0.1/{PORT}) 2>/dev/null && exit; sleep 0.05; done; exit 1"


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            sandbox.fs.upload_file(b"<h1>Hello from a sandbox</h1>", "site/index.html")
            sandbox.process.create_session("web")
            serve = SessionExecuteRequest(command=f"cd site && python3 -m http.server {PORT}", run_async=True)
            sandbox.process.execute_session_command("web", serve)
            sandbox.process.exec(READY)

            signed = sandbox.create_signed_preview_url(PORT, expires_in_seconds=600)
            print("for whoever has it, for ten minutes:", signed.url)
            link = sandbox.get_preview_link(PORT)
            request = urllib.request.Request(link.url, headers={"X-Daytona-Preview-Token": link.token})
            with urllib.request.urlopen(request) as page:
                print(page.status, page.read().decode())
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

# Run it: python examples/python/terminal.py
"""Types into a terminal in a sandbox, leaves it, and comes back to it.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona, PtySize


def show(data: bytes) -> None:
    """Print what the terminal shows."""
    print(data.decode(errors="replace"), end="", flush=True)


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            with sandbox.process.create_pty_session("work", pty_size=PtySize(rows=30, cols=100)) as terminal:
                terminal.send_input("kept='still here'; stty size\n")
                for data in terminal:
                    show(data)
                    if b"30 100" in data:
                        break
            # The terminal lives on without a connection.
            with sandbox.process.connect_pty_session("work") as terminal:
                terminal.resize(PtySize(rows=40, cols=120))
                terminal.send_input("stty size; echo $kept; exit 3\n")
                result = terminal.wait(show)
            print(f"exit code {result.exit_code}")
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

# Run it: python examples/python/terminal_backend.py
"""A terminal for an agent: each command in a sandbox of its own, one that is kept, and files that stay.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona, DaytonaProcessExecutionTimeoutError, TerminalBackend

CONFIG = """
terminal:
  backend: daytona
  daytona:
    {source}
    timeout: 60
    keep_alive: {keep_alive}
    max_idle: 300
"""


def config(keep_alive: bool) -> str:
    """Return YAML; the local server has a snapshot that shows this machine's programs."""
    source = "image: ubuntu:24.04" if os.environ.get("DAYTONA_API_KEY") else "snapshot: host"
    return CONFIG.format(source=source, keep_alive=str(keep_alive).lower())


def main() -> None:
    """Run the steps."""
    daytona = Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local()
    with TerminalBackend(config(False), daytona=daytona) as terminal:
        result = terminal.run("echo from a fresh sandbox; pwd; exit 3")
        print(f"{result.stdout}exit code {result.exit_code}")
        try:
            terminal.run("sleep 60", timeout=1)
        except DaytonaProcessExecutionTimeoutError as error:
            print(error)
    with TerminalBackend(config(True), daytona=daytona) as terminal:
        terminal.run("cat >notes", stdin="kept from one command to the next\n")
        with terminal.exec("cat notes; for n in 1 2 3; do echo step $n; sleep 0.1; done") as command:
            for chunk in command:
                print(chunk.text, end="")
    for image in TerminalBackend.images():
        print(f"{image.language}: {image.image}")


if __name__ == "__main__":
    main()

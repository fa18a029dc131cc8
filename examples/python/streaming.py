# Run it: python examples/python/streaming.py
"""Follows commands while they run: output as it comes, input on the way, logs of a session.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import asyncio
import os

from daytona_native import Daytona, Sandbox, SessionExecuteRequest


def stream(sandbox: Sandbox) -> None:
    """Run a command, answer its question, and tell stdout from stderr."""
    with sandbox.process.exec_stream("echo 'Your name?'; read name; echo \"Hello $name\"; echo done >&2") as command:
        for chunk in command:
            print(f"{chunk.stream}: {chunk.text}", end="")
            if "name?" in chunk.text:
                command.write_stdin("World\n")
        print(f"exit code {command.exit_code}")


def follow(sandbox: Sandbox) -> None:
    """Start a command in a session, which keeps its state, and follow its log."""
    sandbox.process.create_session("build")
    sandbox.process.execute_session_command("build", SessionExecuteRequest(command="cd /tmp; steps=3"))
    request = SessionExecuteRequest(command="for n in $(seq $steps); do echo step $n in $PWD; done", run_async=True)
    command = sandbox.process.execute_session_command("build", request)
    for chunk in sandbox.process.follow_session_command_logs("build", command.cmd_id):
        print(chunk.text, end="")
    # The same with callbacks, as the official package has it.
    asyncio.run(sandbox.process.get_session_command_logs_async("build", command.cmd_id, print, print))
    sandbox.process.delete_session("build")


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            stream(sandbox)
            follow(sandbox)
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

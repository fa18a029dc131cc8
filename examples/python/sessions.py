# Run it: python examples/python/sessions.py
"""Runs commands in a shell that keeps its state, and follows the log of one while it runs.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona, SessionExecuteRequest


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            process = sandbox.process
            process.create_session("build")
            process.execute_session_command(
                "build", SessionExecuteRequest(command="mkdir app; cd app; export NAME=app")
            )
            answer = process.execute_session_command("build", SessionExecuteRequest(command='echo "$NAME in $(pwd)"'))
            print("state is kept:", answer.stdout, end="")

            steps = "for n in 1 2 3; do echo step $n; sleep 0.1; done; echo warning >&2"
            command = process.execute_session_command("build", SessionExecuteRequest(command=steps, run_async=True))
            for chunk in process.follow_session_command_logs("build", command.cmd_id):
                print(f"{chunk.stream}: {chunk.text}", end="")
            print("exit code", process.get_session_command("build", command.cmd_id).exit_code)

            request = SessionExecuteRequest(command='read answer; echo "got $answer"', run_async=True)
            asking = process.execute_session_command("build", request)
            process.send_session_command_input("build", asking.cmd_id, "yes")
            for chunk in process.follow_session_command_logs("build", asking.cmd_id):
                print(chunk.text, end="")
            process.delete_session("build")
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

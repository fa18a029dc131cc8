# Run it: python examples/python/interpreter.py
"""Runs Python code that keeps its variables from one run to the next.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            interpreter = sandbox.code_interpreter
            interpreter.run_code("squares = [n * n for n in range(10)]")
            result = interpreter.run_code("print(sum(squares))\nsquares", results=True)
            print("stdout:", result.stdout, end="")
            for value in result.results or ():
                print("value:", value.json or value.text)
            result = interpreter.run_code("1 / 0")
            if result.error:
                print(f"{result.error.name}: {result.error.value}")
            other = interpreter.create_context()
            result = interpreter.run_code("squares", context=other)
            print("in another context:", result.error.name if result.error else "known")
            interpreter.run_code(
                "import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.1)",
                on_stdout=lambda message: print("as it comes:", message.output, end=""),
            )
            interpreter.delete_context(other)
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

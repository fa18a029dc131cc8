# Run it: python examples/python/data_analysis_agent.py
"""An agent answers a question about data: it writes code, reads what comes of it, and goes on.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os
from collections.abc import Generator

from daytona_native import Daytona, ExecutionResult

DATA = b"""month,region,sales
1,north,120
1,south,80
2,north,150
2,south,95
3,north,170
3,south,140
"""


def scripted_model(question: str) -> Generator[str, str, None]:
    """Stand in for a language model: it is sent each result and gives the next code, or its answer at last."""
    print("question:", question)
    seen = yield "import csv\nrows = list(csv.DictReader(open('sales.csv')))\nprint(list(rows[0]))"
    seen = yield "print(sum(int(row['revenue']) for row in rows))" if "sales" in seen else "print(rows)"
    if "KeyError" in seen:  # A wrong guess: the error says so.
        seen = yield (
            "growth = {}\n"
            "for row in rows:\n    growth.setdefault(row['region'], []).append(int(row['sales']))\n"
            "print({region: round(100 * (s[-1] / s[0] - 1)) for region, s in growth.items()})"
        )
    yield f"ANSWER: growth in percent: {seen.strip()}"


def observation(result: ExecutionResult) -> str:
    """Give what a model is shown of a run."""
    return f"{result.error.name}: {result.error.value}" if result.error else result.stdout


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            sandbox.fs.upload_file(DATA, "sales.csv")
            model = scripted_model("Which region grew faster?")
            step = next(model)
            while not step.startswith("ANSWER"):
                seen = observation(sandbox.code_interpreter.run_code(step, timeout=60))
                print("saw:", seen.strip())
                step = model.send(seen)
            print(step)
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

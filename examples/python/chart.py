# Run it: python examples/python/chart.py
"""Draws a chart in a sandbox and saves it as chart.png.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from daytona_native import CreateSandboxFromSnapshotParams, Daytona

CODE = """
import matplotlib.pyplot as plt

plt.plot([1, 2, 3, 4], [1, 4, 9, 16], label="squares")
plt.title("Squares")
plt.legend()
plt.show()
"""


def main() -> None:
    """Run the steps."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "chart.png")
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create(CreateSandboxFromSnapshotParams(env_vars={"PYTHONPATH": "/tmp/packages"}))
        try:
            install = "python3 -m pip install --quiet --disable-pip-version-check --target /tmp/packages matplotlib"
            installed = sandbox.process.exec(f"python3 -c 'import matplotlib' 2>/dev/null || {install}", timeout=300)
            if installed.exit_code != 0:
                raise SystemExit(installed.result)
            drawn = sandbox.process.code_run(CODE)
            for chart in (drawn.artifacts.charts if drawn.artifacts else None) or ():
                print(f"a {chart.type} chart, {chart.title}, with {[line.label for line in chart.elements]}")
                if chart.png:
                    target.write_bytes(base64.b64decode(chart.png))
                    print("saved as", target)
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

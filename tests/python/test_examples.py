"""Each example is run, and prints what it says."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import ROOT, Server
from daytona_native import Sandbox

EXAMPLES = ROOT / "examples/python"

PRINTED = {
    "chart": r"a line chart, Squares, with \['squares'\]\nsaved as chart.png\n",
    "data_analysis_agent": r".*saw: KeyError: 'revenue'\n.*ANSWER: growth in percent: {'north': 42, 'south': 75}\n",
    "declarative_image": (
        r"FROM python:.*\nCOPY .*\nRUN .*\nENV GREETING=hello\nWORKDIR /app\n.*host view.*"
        r"hello from /app with 5 words\nfrom the snapshot: hello from /app with 5 words\n"
    ),
    "ephemeral": r"made: True True\nquick\ngone with its stop\n",
    "fan_out": r"100 sandboxes, 20 at a time, in [\d.]+ s\n",
    "from_snapshot": r"sandbox 0: prepared\nsandbox 1: prepared\n",
    "git_workflow": r"on feature with \['hello.py'\]\npushed True\nbranches: \['feature', 'main'\]\n",
    "interpreter": r"stdout: 285\n.*ZeroDivisionError: .*in another context: NameError\n.*as it comes: 2\n",
    "lifecycle": r"stopped: .*\nafter the archive: kept\n(paused: .*|not here: .*)\nlabels: .*'done'.*\ndeleted\n",
    "network": (
        r"allowed: pypi.org,\*.pythonhosted.org\nexample.com is not found\n"
        r"blocked: True - pypi.org is not found\nopen: True\n"
    ),
    "preview": r"for whoever has it, for ten minutes: http\S+\n200 <h1>Hello from a sandbox</h1>\n",
    "quickstart": r".*run a Python program: 42\n.*download to a local file: .* three.\n.*delete the sandbox\n",
    "quickstart_async": r".*9 squared is 81\n.*streamed 4194304 bytes there and back\n.*gave up on .*deleted them\n",
    "resources": r"has \d+ cores, \d+ GiB of memory, \d+ GiB of disk\nuses .*\n(not here: .*)?has \d+ GiB now\n",
    "rollouts": r"(round \d: best reward -\d+\.\d\n){5}",
    "sandbox_provider": r".*step 3 of the example\n.*terminated\n",
    "sessions": r"state is kept: app in \S+/app\n.*stdout: step 3\n.*exit code 0\nyes\ngot yes\n",
    "streaming": r".*stdout: Hello World\n.*exit code 0\n(step 1 in /tmp\nstep 2 in /tmp\nstep 3 in /tmp\n\n?){2}",
    "terminal": r".*30 100.*40 120.*still here.*exit code 3\n",
    "terminal_backend": (
        r"from a fresh sandbox\n/home/daytona\nexit code 3\n.*time limit.*\n"
        r"kept from one command to the next\nstep 1\nstep 2\nstep 3\n.*python: .*"
    ),
    "volumes": r"written by the first\n",
}


# These name an image: here they run on the local server that they start themselves, with or without images.
OWN_SERVER = {"declarative_image", "sandbox_provider", "terminal_backend"}
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_each_example_is_run_and_says_how() -> None:
    assert set(NAMES) <= set(PRINTED)
    for name in NAMES:
        assert (EXAMPLES / f"{name}.py").read_text().startswith(f"# Run it: python examples/python/{name}.py\n"), name


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str, server: Server, shared_sandbox: Sandbox, tmp_path: pathlib.Path) -> None:
    if name == "network" and "network" not in shared_sandbox.labels["daytona-native/limits"]:
        pytest.skip("sandboxes have no network of their own")
    if name in ("declarative_image", "volumes") and shared_sandbox.labels["daytona-native/runtime"] != "ns":
        pytest.skip("sandboxes have no file system of their own")
    settings = {"DAYTONA_API_URL": server.url, "DAYTONA_API_KEY": server.api_key}
    if name in OWN_SERVER:
        settings = {"XDG_DATA_HOME": str(tmp_path)}
    if name == "declarative_image":
        settings["DAYTONA_NATIVE_IMAGE_FALLBACK"] = "host"
    others = {key: value for key, value in os.environ.items() if not key.startswith("DAYTONA_")}
    run = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        cwd=tmp_path,
        env={**others, **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.fullmatch(PRINTED[name], run.stdout, re.DOTALL), run.stdout
    if name == "fan_out":
        assert run.stderr.endswith(f"[{'#' * 40}] 100/100\n")
    if name == "chart":
        assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")

# Run it: python examples/python/network.py
"""Limits what a sandbox reaches, and changes that while it runs.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import CreateSandboxFromSnapshotParams, Daytona, Sandbox


def look(sandbox: Sandbox, name: str) -> str:
    """Tell whether a name is found from inside."""
    return "found" if sandbox.process.exec(f"getent hosts {name}").exit_code == 0 else "not found"


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create(CreateSandboxFromSnapshotParams(domain_allow_list="pypi.org,*.pythonhosted.org"))
        try:
            print("allowed:", sandbox.domain_allow_list)
            print("example.com is", look(sandbox, "example.com"))
            sandbox.update_network_settings(network_block_all=True)
            print("blocked:", sandbox.network_block_all, "- pypi.org is", look(sandbox, "pypi.org"))
            sandbox.update_network_settings(network_block_all=False)
            print("open:", not sandbox.network_block_all)
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

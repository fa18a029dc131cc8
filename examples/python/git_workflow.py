# Run it: python examples/python/git_workflow.py
"""Clones a repository, commits a change on a branch, and pushes it.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona

# Stands in for a repository of yours, so that this needs no account: `url` may be any that git knows.
ORIGIN = """set -e
git init -q --bare --initial-branch=main origin.git
git clone -q origin.git seed 2>/dev/null && cd seed && git checkout -q -B main && echo '# Project' > README.md
git add . && git -c user.name=Seed -c user.email=seed@example.com commit -q -m first && git push -q origin main"""


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            sandbox.process.exec(ORIGIN)
            url = f"{sandbox.get_work_dir()}/origin.git"
            sandbox.git.clone(url, "project")
            sandbox.git.create_branch("project", "feature")
            sandbox.git.checkout_branch("project", "feature")
            sandbox.fs.upload_file(b"print('hello')\n", "project/hello.py")
            status = sandbox.git.status("project")
            print("on", status.current_branch, "with", [file.name for file in status.file_status])
            sandbox.git.add("project", ["hello.py"])
            commit = sandbox.git.commit("project", "Say hello", "Me", "me@example.com")
            sandbox.git.push("project", set_upstream=True)
            print(
                "pushed", commit.sha == sandbox.process.exec("git rev-parse feature", cwd="origin.git").result.strip()
            )
            print("branches:", sandbox.git.branches("project").branches)
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()

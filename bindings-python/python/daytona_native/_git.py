"""What calls of git return."""

from __future__ import annotations

from ._enums import _ApiEnum
from ._model import Model, Record
from ._results import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Status(_ApiEnum):
    """What became of a file."""

    Unmodified = "Unmodified"
    Untracked = "Untracked"
    Modified = "Modified"
    Added = "Added"
    Deleted = "Deleted"
    Renamed = "Renamed"
    Copied = "Copied"
    UpdatedButUnmerged = "Updated but unmerged"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class FileStatus(Model):
    r"""A file that is not as it was committed.

    Attributes:
        extra: Where it was before it was renamed; else empty.
        name: Its path in the repository. Each byte that is not UTF-8 is ``\x`` and two digits.
        staging: What is staged.
        worktree: What is not.
    """

    extra: str
    name: str
    staging: Status
    worktree: Status


class GitStatus(Model):
    """What is checked out and what has changed.

    Attributes:
        ahead: Commits that the upstream lacks.
        behind: Commits of the upstream that are not here.
        branch_published: The remote has the branch.
        current_branch: The branch that is checked out; ``HEAD`` where that is detached.
        detached: ``HEAD`` is a commit, not a branch.
        file_status: The files that are not as they were committed.
        upstream: Such as ``origin/main``; empty where there is none.
    """

    ahead: int | None = None
    behind: int | None = None
    branch_published: bool | None = None
    current_branch: str
    detached: bool | None = None
    file_status: list[FileStatus]
    upstream: str | None = None


class ListBranchResponse(Model):
    """The local branches.

    Attributes:
        branches: Their names, sorted.
        current: The one that is checked out; empty where ``HEAD`` is detached.
    """

    branches: list[str]
    current: str | None = None


class GitRemote(Model):
    """A repository elsewhere.

    Attributes:
        name: Such as ``origin``.
        url: Where it is.
    """

    name: str
    url: str


class ListRemotesResponse(Model):
    """The remotes.

    Attributes:
        remotes: By name.
    """

    remotes: list[GitRemote]


class GitCommitResponse(Record):
    """A commit.

    Attributes:
        sha: Its hash.
    """

    sha: str


branches = reader(ListBranchResponse)
_remote = reader(GitRemote)


def remotes(found: list[tuple[str, str]]) -> ListRemotesResponse:
    """Make the list of its names and URLs."""
    return ListRemotesResponse._of(remotes=[_remote(one) for one in found])


def status(values: tuple[Any, ...]) -> GitStatus:
    """Make a status of its fields."""
    ahead, behind, published, branch, detached, files, upstream = values
    return GitStatus._of(
        ahead=ahead,
        behind=behind,
        branch_published=published,
        current_branch=branch,
        detached=detached,
        file_status=[
            FileStatus._of(extra=extra, name=name, staging=Status(staging), worktree=Status(worktree))
            for extra, name, staging, worktree in files
        ],
        upstream=upstream,
    )

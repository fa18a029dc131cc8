"""Git repositories in a sandbox."""

from __future__ import annotations

from .. import _git
from .._git import GitCommitResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .. import _native
    from .._git import GitStatus, ListBranchResponse, ListRemotesResponse


class AsyncGit:
    """The git repositories of one sandbox; get it as ``sandbox.git``.

    Relative paths start from the sandbox's work directory. The git program of the sandbox does the work: a
    ``DaytonaServiceUnavailableError`` says that there is none.
    """

    def __init__(self, native: _native.Git) -> None:
        self._native = native

    async def add(self, path: str, files: list[str], request_timeout: float | None = None) -> None:
        """Stage files for the next commit.

        Args:
            path: The repository's root folder.
            files: Files and folders in it; ``.`` is everything. Names are taken literally.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaFileNotFoundError: One of the files is not there.
        """
        await self._native.add(path, files, request_timeout)

    async def branches(self, path: str, request_timeout: float | None = None) -> ListBranchResponse:
        """List the local branches.

        Args:
            path: The repository's root folder.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Their names, and the one that is checked out.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
        """
        return _git.branches(await self._native.branches(path, request_timeout))

    async def clone(
        self,
        url: str,
        path: str,
        branch: str | None = None,
        commit_id: str | None = None,
        username: str | None = None,
        password: str | None = None,
        insecure_skip_tls: bool | None = None,
        depth: int | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Clone a repository.

        Args:
            url: Where it is. Credentials in it are used like ``username`` and ``password``, and not stored.
            path: The folder to make.
            branch: Branch or tag to check out instead of the remote's default.
            commit_id: Commit to check out, with a detached ``HEAD``.
            username: For remotes that ask for one.
            password: Password or token; given to the remote and stored nowhere.
            insecure_skip_tls: Take any certificate.
            depth: Only so many commits of the history, at least 1.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's, or half an hour.

        Raises:
            DaytonaGitAuthFailedError: The remote does not take the credentials, or wants some.
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchNotFoundError: No such branch.
            DaytonaConflictError: The folder holds something.
            DaytonaGitTransportFailedError: The remote is not in reach.
        """
        await self._native.clone(
            url, path, branch, commit_id, username, password, insecure_skip_tls, depth, request_timeout
        )

    async def commit(
        self,
        path: str,
        message: str,
        author: str,
        email: str,
        allow_empty: bool = False,
        request_timeout: float | None = None,
    ) -> GitCommitResponse:
        """Commit what is staged.

        Args:
            path: The repository's root folder.
            message: The message; not blank.
            author: Name of author and committer.
            email: Their mail address.
            allow_empty: Commit also where nothing is staged.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The commit.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaBadRequestError: Nothing is staged.
            DaytonaGitMergeConflictError: There are conflicts to resolve.
        """
        return GitCommitResponse(await self._native.commit(path, message, author, email, allow_empty, request_timeout))

    async def push(
        self,
        path: str,
        username: str | None = None,
        password: str | None = None,
        branch: str | None = None,
        remote: str | None = None,
        set_upstream: bool = False,
        request_timeout: float | None = None,
    ) -> None:
        """Send a branch to a remote.

        Args:
            path: The repository's root folder.
            username: For remotes that ask for one.
            password: Password or token; given to the remote and stored nowhere.
            branch: The branch; the current one where ``None``.
            remote: The remote's name; ``origin`` where ``None``.
            set_upstream: Make it the branch's upstream.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's, or half an hour.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchNotFoundError: No such branch.
            DaytonaNotFoundError: No such remote.
            DaytonaGitAuthFailedError: The remote does not take the credentials, or wants some.
            DaytonaGitPushRejectedError: The remote has commits that are missing here.
            DaytonaGitRemoteRejectedError: The remote refuses the push.
            DaytonaGitTransportFailedError: The remote is not in reach.
        """
        await self._native.push(path, username, password, branch, remote, set_upstream, request_timeout)

    async def pull(
        self,
        path: str,
        username: str | None = None,
        password: str | None = None,
        branch: str | None = None,
        remote: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Fetch a branch of a remote and merge it into the current one.

        Where ``pull.rebase`` or ``pull.ff`` is set, it is done that way.

        Args:
            path: The repository's root folder.
            username: For remotes that ask for one.
            password: Password or token; given to the remote and stored nowhere.
            branch: The remote's branch; the current one's upstream where ``None``.
            remote: The remote's name; that of the upstream, else ``origin``, where ``None``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's, or half an hour.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchNotFoundError: No such branch.
            DaytonaNotFoundError: No such remote.
            DaytonaGitAuthFailedError: The remote does not take the credentials, or wants some.
            DaytonaGitDirtyWorktreeError: Uncommitted changes are in the way.
            DaytonaGitMergeConflictError: The histories conflict; the conflicts are in the files now.
            DaytonaGitTransportFailedError: The remote is not in reach.
        """
        await self._native.pull(path, username, password, branch, remote, request_timeout)

    async def status(self, path: str, request_timeout: float | None = None) -> GitStatus:
        """Tell what is checked out and what has changed.

        Args:
            path: The repository's root folder.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The branch, and the files that are not as they were committed.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
        """
        return _git.status(await self._native.status(path, request_timeout))

    async def checkout_branch(self, path: str, branch: str, request_timeout: float | None = None) -> None:
        """Check out a branch.

        Args:
            path: The repository's root folder.
            branch: The branch, or a commit.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchNotFoundError: No such branch.
            DaytonaGitDirtyWorktreeError: Uncommitted changes are in the way.
        """
        await self._native.checkout_branch(path, branch, request_timeout)

    async def create_branch(self, path: str, name: str, request_timeout: float | None = None) -> None:
        """Make a branch at the current commit; it is not checked out.

        Args:
            path: The repository's root folder.
            name: The branch.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchExistsError: There is one of that name.
        """
        await self._native.create_branch(path, name, request_timeout)

    async def delete_branch(self, path: str, name: str, request_timeout: float | None = None) -> None:
        """Delete a local branch, merged or not.

        Args:
            path: The repository's root folder.
            name: The branch.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchNotFoundError: No such branch.
            DaytonaConflictError: It is checked out.
        """
        await self._native.delete_branch(path, name, request_timeout)

    async def init(
        self, path: str, bare: bool = False, initial_branch: str | None = None, request_timeout: float | None = None
    ) -> None:
        """Make a repository; one that is there stays as it is.

        Args:
            path: The folder; made where it is missing.
            bare: Without a working tree.
            initial_branch: Name of the first branch.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaFileAccessDeniedError: The sandbox's user may not.
        """
        await self._native.init(path, bare, initial_branch, request_timeout)

    async def reset(
        self,
        path: str,
        mode: str | None = None,
        target: str | None = None,
        files: list[str] | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Go to another commit, or take files out of the index.

        Args:
            path: The repository's root folder.
            mode: ``soft``, ``mixed``, ``hard``, ``merge`` or ``keep``; ``mixed`` where ``None``.
            target: The revision; ``HEAD`` where ``None``.
            files: Only these, in the index.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: An unknown mode; nothing was sent.
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaGitBranchNotFoundError: No such revision.
        """
        await self._native.reset(path, mode, target, files, request_timeout)

    async def restore(
        self,
        path: str,
        files: list[str],
        staged: bool | None = None,
        worktree: bool | None = None,
        source: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Take changes of files back.

        Args:
            path: The repository's root folder.
            files: Files and folders in it; ``.`` is everything.
            staged: In the index.
            worktree: In the working tree; so it is where nothing is said.
            source: A revision to take them from, instead of the index.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaFileNotFoundError: git does not know one of them.
        """
        await self._native.restore(path, files, staged, worktree, source, request_timeout)

    async def remote_add(
        self,
        path: str,
        name: str,
        url: str,
        fetch: bool = False,
        overwrite: bool = False,
        request_timeout: float | None = None,
    ) -> None:
        """Add a remote.

        Args:
            path: The repository's root folder.
            name: Its name.
            url: Where it is. Credentials in it are used for the fetch, and not stored.
            fetch: Fetch from it at once; if that fails it is not added.
            overwrite: Change where one of that name leads.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
            DaytonaConflictError: There is one of that name.
        """
        await self._native.remote_add(path, name, url, fetch, overwrite, request_timeout)

    async def remotes(self, path: str, request_timeout: float | None = None) -> ListRemotesResponse:
        """List the remotes.

        Args:
            path: The repository's root folder.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Names and URLs.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
        """
        return _git.remotes(await self._native.remotes(path, request_timeout))

    async def remote_get(self, path: str, name: str, request_timeout: float | None = None) -> str | None:
        """Tell the URL of a remote.

        Args:
            path: The repository's root folder.
            name: Its name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The URL, or ``None`` if there is no such remote.

        Raises:
            DaytonaGitRepoNotFoundError: No repository there.
        """
        url: str | None = await self._native.remote_get(path, name, request_timeout)
        return url

    async def set_config(
        self, key: str, value: str, scope: str = "global", path: str | None = None, request_timeout: float | None = None
    ) -> None:
        """Set one setting of git.

        Args:
            key: Such as ``pull.rebase``.
            value: Its value.
            scope: ``global``, ``local`` or ``system``.
            path: The repository's root folder, for the scope ``local``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: An unknown scope, or ``local`` without a path; nothing was sent.
            DaytonaBadRequestError: git knows no such key.
        """
        await self._native.set_config(key, value, scope, path, request_timeout)

    async def get_config(
        self, key: str, scope: str = "global", path: str | None = None, request_timeout: float | None = None
    ) -> str | None:
        """Read one setting of git.

        Args:
            key: Such as ``pull.rebase``.
            scope: ``global``, ``local`` or ``system``.
            path: The repository's root folder, for the scope ``local``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Its value, or ``None`` where it is not set.

        Raises:
            DaytonaInvalidArgumentError: An unknown scope, or ``local`` without a path; nothing was sent.
        """
        value: str | None = await self._native.get_config(key, scope, path, request_timeout)
        return value

    async def configure_user(
        self,
        name: str,
        email: str,
        scope: str = "global",
        path: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Set who commits.

        Args:
            name: Name of author and committer.
            email: Their mail address.
            scope: ``global``, ``local`` or ``system``.
            path: The repository's root folder, for the scope ``local``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: An unknown scope, or ``local`` without a path; nothing was sent.
        """
        await self._native.configure_user(name, email, scope, path, request_timeout)

    async def dangerously_authenticate(
        self,
        username: str,
        password: str,
        host: str | None = None,
        protocol: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Have git keep credentials for a host.

        They lie in the home of the sandbox's user, readable by everything that runs there.

        Args:
            username: The user.
            password: Password or token.
            host: Such as ``github.com``, which it is where ``None``; with a port where it has one.
            protocol: ``https``, which it is where ``None``, or ``http``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: An empty name or password; nothing was sent.
        """
        await self._native.dangerously_authenticate(username, password, host, protocol, request_timeout)

"""The files of a sandbox."""

from __future__ import annotations

from io import BytesIO
from os import fspath

from .._given import given_list
from .._progress import AsyncUploadReport, async_report_download
from .._results import (
    FileDownloadErrorDetails,
    FileDownloadResponse,
    SearchFilesResponse,
    file_info,
    match,
    replace_result as _replace_result,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
    from typing import IO, Any, overload

    from .. import _native
    from .._params import FileDownloadRequest, FileUpload
    from .._results import CancelEvent, DownloadProgress, FileInfo, Match, ReplaceResult, UploadProgress

_TRANSFER_LIMIT = 30 * 60


def _upload_source(source: Any) -> Any:
    if isinstance(source, memoryview):
        return bytes(source)
    if isinstance(source, (bytes, bytearray, str)) or hasattr(source, "__fspath__"):
        return source
    if hasattr(source, "read") or hasattr(source, "__iter__") or hasattr(source, "__aiter__"):
        return source
    raise TypeError(
        f"cannot upload a {type(source).__name__}: pass bytes, a path, a binary file or an iterable of bytes"
    )


def _local(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else fspath(path)


class AsyncFileSystem:
    """The files of one sandbox; get it as ``sandbox.fs``.

    Relative paths start from the sandbox's work directory; ``~/`` is the home of its user.
    """

    def __init__(self, native: _native.FileSystem) -> None:
        self._native = native

    async def create_folder(self, path: str, mode: str, request_timeout: float | None = None) -> None:
        """Make a folder and its parents; fine if it is there.

        Args:
            path: Path in the sandbox.
            mode: Permissions as octal digits: ``755``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A bad mode; nothing was sent.
            DaytonaFileAccessDeniedError: The sandbox's user may not.
        """
        await self._native.create_folder(path, mode, request_timeout)

    async def delete_file(self, path: str, recursive: bool = False, request_timeout: float | None = None) -> None:
        """Delete a file, or with ``recursive`` a folder and all in it.

        Args:
            path: Path in the sandbox.
            recursive: Needed for folders.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaFileNotFoundError: It is not there.
            DaytonaError: It is a folder, and ``recursive`` is not set.
        """
        await self._native.delete_file(path, recursive, request_timeout)

    if TYPE_CHECKING:

        @overload
        async def download_file(self, remote_path: str, timeout: float = ...) -> bytes: ...
        @overload
        async def download_file(self, remote_path: str, local_path: None = ..., timeout: float = ...) -> bytes: ...
        @overload
        async def download_file(
            self, remote_path: str, local_path: str | os.PathLike[str], timeout: float = ...
        ) -> None: ...

    async def download_file(  # type: ignore[misc]  # the second argument has two names
        self,
        remote_path: str,
        local_path: str | os.PathLike[str] | float | None = None,
        timeout: float = _TRANSFER_LIMIT,
    ) -> bytes | None:
        """Read one file, into memory or to a local file.

        Args:
            remote_path: Path in the sandbox.
            local_path: Local file, replaced as a whole or not at all; missing folders are made.
            timeout: Seconds without progress after which it fails; 0 is no limit. Given as second
                argument too, where there is no ``local_path``.

        Returns:
            The contents, or ``None`` with a ``local_path``.

        Raises:
            DaytonaFileNotFoundError: It is not there.
            DaytonaFileAccessDeniedError: The sandbox's user may not read it.
            DaytonaConnectionError: The download broke off or stalled.
        """
        if isinstance(local_path, (int, float)):
            return await self.download_file(remote_path, timeout=local_path)
        contents = await self._native.download_file(remote_path, _local(local_path), timeout)
        if contents is None or isinstance(contents, bytes):
            return contents
        memory = BytesIO()
        try:
            while (piece := await contents.next()) is not None:
                memory.write(piece)
        finally:
            contents.close()
        return memory.getvalue()

    async def download_file_stream(
        self,
        remote_path: str,
        timeout: float = _TRANSFER_LIMIT,
        on_progress: Callable[[DownloadProgress], object] | None = None,
        cancel_event: CancelEvent | None = None,
    ) -> AsyncIterator[bytes]:
        """Read one file piece by piece; memory stays flat whatever its size.

        The download begins with the first piece that is asked for, and ends when the iterator is closed.

        Args:
            remote_path: Path in the sandbox.
            timeout: Seconds without progress after which it fails; 0 is no limit.
            on_progress: Called after each piece.
            cancel_event: Asked for ``is_set()`` 20 times a second; when true the download fails.

        Returns:
            An iterator over the contents.

        Raises:
            DaytonaFileNotFoundError: It is not there; raised with the first piece, as the others.
            DaytonaConnectionError: The download broke off or stalled.
            DaytonaError: It was cancelled.
        """
        return self._pieces(remote_path, timeout, on_progress, cancel_event)

    async def _pieces(
        self,
        remote_path: str,
        timeout: float,
        on_progress: Callable[[DownloadProgress], object] | None,
        cancel_event: CancelEvent | None,
    ) -> AsyncIterator[bytes]:
        stream = await self._native.download_file_stream(remote_path, timeout, cancel_event)
        received = 0
        try:
            while True:
                piece: bytes | None = await stream.next()
                if piece is None:
                    return
                if on_progress:
                    received += len(piece)
                    await async_report_download(on_progress, received, stream.total)
                yield piece
        finally:
            stream.close()

    async def download_files(
        self, files: Iterable[FileDownloadRequest | Mapping[str, Any]], timeout: float = _TRANSFER_LIMIT
    ) -> list[FileDownloadResponse]:
        """Read many files in one request, each with its own result.

        Args:
            files: What to read, and where to; objects or dicts with their fields.
            timeout: Seconds without progress after which it fails; 0 is no limit.

        Returns:
            A result for each file, in order: its contents, the path it was written to, or an error.

        Raises:
            DaytonaConnectionError: The request as a whole failed.
        """
        from .._params import FileDownloadRequest

        requests = given_list("files", files, FileDownloadRequest)
        wanted = [(file.source, _local(file.destination)) for file in requests]
        answers = await self._native.download_files(wanted, timeout)
        results = []
        for (source, destination), (_, contents, error) in zip(wanted, answers, strict=True):
            if error is None:
                result = destination if contents is None else contents
                results.append(FileDownloadResponse._of(source=source, result=result, error=None, error_details=None))
                continue
            details = FileDownloadErrorDetails(error.message, error.status_code, error.code, error.source, error.code)
            results.append(FileDownloadResponse(source, None, error.message, details))
        return results

    async def find_files(self, path: str, pattern: str, request_timeout: float | None = None) -> list[Match]:
        """Find the lines that hold a text.

        Args:
            path: A file, or a folder and all beneath it.
            pattern: Plain text, not empty.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The lines.

        Raises:
            DaytonaFileNotFoundError: The path is not there.
        """
        return [match(found) for found in await self._native.find_files(path, pattern, request_timeout)]

    async def get_file_info(self, path: str, request_timeout: float | None = None) -> FileInfo:
        """Tell what is known about a file or folder.

        Args:
            path: Path in the sandbox.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Its size, times, owner and permissions.

        Raises:
            DaytonaFileNotFoundError: It is not there.
        """
        info: FileInfo = file_info(await self._native.get_file_info(path, request_timeout))
        return info

    async def list_files(
        self, path: str, depth: int | None = None, request_timeout: float | None = None
    ) -> list[FileInfo]:
        """List a folder by name.

        Args:
            path: Path in the sandbox.
            depth: Levels, from 1, which is the default.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Its entries.

        Raises:
            DaytonaFileNotFoundError: It is not there.
        """
        return [file_info(info) for info in await self._native.list_files(path, depth, request_timeout)]

    async def move_files(self, source: str, destination: str, request_timeout: float | None = None) -> None:
        """Move or rename a file or folder.

        Args:
            source: Where it is.
            destination: Where it goes.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaFileNotFoundError: The source is not there.
            DaytonaConflictError: The destination is there.
        """
        await self._native.move_files(source, destination, request_timeout)

    async def replace_in_files(
        self, files: list[str], pattern: str, new_value: str, request_timeout: float | None = None
    ) -> list[ReplaceResult]:
        """Replace a text in files; one that cannot be changed does not stop the others.

        Args:
            files: Paths in the sandbox.
            pattern: Plain text, not empty.
            new_value: What takes its place.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            A result for each file.
        """
        results = await self._native.replace_in_files(files, pattern, new_value, request_timeout)
        return [_replace_result(result) for result in results]

    async def search_files(self, path: str, pattern: str, request_timeout: float | None = None) -> SearchFilesResponse:
        """Find files by name.

        Args:
            path: A folder; all beneath it is searched.
            pattern: A glob for the base name: ``*.py``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Their paths.

        Raises:
            DaytonaFileNotFoundError: The path is not there.
        """
        return SearchFilesResponse(files=await self._native.search_files(path, pattern, request_timeout))

    async def set_file_permissions(
        self,
        path: str,
        mode: str | None = None,
        owner: str | None = None,
        group: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Change permissions and owners; what is ``None`` stays.

        Args:
            path: Path in the sandbox.
            mode: Permissions as octal digits: ``644``.
            owner: User name.
            group: Group name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A bad mode; nothing was sent.
            DaytonaFileNotFoundError: It is not there.
            DaytonaFileAccessDeniedError: The sandbox's user may not.
        """
        await self._native.set_file_permissions(path, mode, owner, group, request_timeout)

    async def upload_file(
        self, src: bytes | str | os.PathLike[str], dst: str, timeout: float = _TRANSFER_LIMIT
    ) -> None:
        """Write one file; it is there as a whole or not at all.

        Args:
            src: The contents as bytes, or the path of a local file.
            dst: Path in the sandbox; missing folders are made. A local file keeps its name in a folder: ``"dir/"``.
            timeout: Seconds without progress after which it fails; 0 is no limit.

        Raises:
            DaytonaInvalidArgumentError: The local file cannot be read; nothing was sent.
            DaytonaFileAccessDeniedError: The sandbox's user may not.
            DaytonaConnectionError: The upload broke off or stalled.
        """
        await self._native.upload([(_upload_source(src), dst)], True, timeout)

    async def upload_files(
        self, files: Iterable[FileUpload | Mapping[str, Any]], timeout: float = _TRANSFER_LIMIT
    ) -> None:
        """Write many files in one request.

        Args:
            files: What to write, and where to; objects or dicts with their fields.
            timeout: Seconds without progress after which it fails; 0 is no limit.

        Raises:
            DaytonaInvalidArgumentError: What is no such file, or a local file that cannot be read; nothing was sent.
            DaytonaError: Some could not be written, each named; the others are.
        """
        from .._params import FileUpload

        uploads = given_list("files", files, FileUpload)
        await self._native.upload([(_upload_source(file.source), file.destination) for file in uploads], False, timeout)

    async def upload_file_stream(
        self,
        source: bytes | str | os.PathLike[str] | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes],
        remote_path: str,
        timeout: float = _TRANSFER_LIMIT,
        on_progress: Callable[[UploadProgress], object] | None = None,
        cancel_event: CancelEvent | None = None,
    ) -> None:
        """Write one file piece by piece; memory stays flat whatever its size.

        Args:
            source: The contents as bytes, the path of a local file, a binary file object, or an
                iterable of bytes. A file object stays open.
            remote_path: Path in the sandbox; missing folders are made.
            timeout: Seconds without progress after which it fails; 0 is no limit.
            on_progress: Called after pieces; of several at once it hears of the last.
            cancel_event: Asked for ``is_set()`` 20 times a second; when true the upload fails.

        Raises:
            DaytonaInvalidArgumentError: The local file cannot be read; nothing was sent.
            DaytonaConnectionError: The upload broke off or stalled.
            DaytonaError: It was cancelled.
        """
        report = AsyncUploadReport(on_progress)
        files = [(report.source(_upload_source(source)), remote_path)]
        async with report:
            await self._native.upload(files, True, timeout, report if on_progress else None, cancel_event)
            await report.finish()

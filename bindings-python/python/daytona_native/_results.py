"""What calls return."""

from __future__ import annotations

from ._model import Model, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    from ._chart import Chart

    _M = TypeVar("_M", bound=Model)

    class CancelEvent(Protocol):
        """Anything that says whether to stop, such as ``threading.Event`` or ``asyncio.Event``."""

        def is_set(self) -> bool:
            """Tell whether to stop."""

else:

    def __getattr__(name: str) -> type:
        if name != "CancelEvent":
            raise AttributeError(name)
        from ._protocols import CancelEvent

        globals()[name] = CancelEvent
        return CancelEvent


_new = object.__new__


class ExecutionArtifacts(Record):
    """What a command or program left.

    Attributes:
        stdout: Its output; the same as ``ExecuteResponse.result``.
        charts: Charts it drew.
    """

    stdout: str = ""
    charts: list[Chart] | None = None


class ExecuteResponse(Model):
    """The end of a command or program.

    Attributes:
        exit_code: Its exit code; -1 if it could not be started, 128 + n if signal n ended it.
        result: Its output, stdout and stderr as they came.
        artifacts: Its output and charts.
    """

    exit_code: int
    result: str
    artifacts: ExecutionArtifacts | None = None


class FileInfo(Model):
    r"""A file or folder.

    Attributes:
        name: Base name. Each byte that is not UTF-8 is ``\x`` and two digits, and a path takes it so.
        path: Path relative to the listed folder, in lists deeper than one level.
        size: Bytes.
        mode: As ``ls -l`` prints it: ``-rw-r--r--``.
        mod_time: Time of the last change, as text; use ``modified_at`` where there is one.
        modified_at: The same, RFC 3339.
        is_dir: True for a folder.
        owner: User name, or the number where it has none.
        group: Group name, or the number where it has none.
        permissions: Four octal digits: ``0644``.
    """

    name: str
    path: str | None
    size: int
    mode: str
    mod_time: str
    modified_at: str | None
    is_dir: bool
    owner: str
    group: str
    permissions: str


class Match(Model):
    """One line that ``find_files`` found.

    Attributes:
        file: Path of the file.
        line: Number of the line, from 1.
        content: The line, without its end.
    """

    file: str
    line: int
    content: str


class ReplaceResult(Model):
    """What became of one file of ``replace_in_files``.

    Attributes:
        file: Its path.
        success: True if it is as wanted now.
        error: Why not.
    """

    file: str | None
    success: bool | None
    error: str | None


class SearchFilesResponse(Model):
    """What ``search_files`` found.

    Attributes:
        files: Paths.
    """

    files: list[str]


class FileDownloadErrorDetails(Record):
    """Why one file could not be read.

    Attributes:
        message: For a person.
        status_code: HTTP status that goes with it.
        code: Stable name, such as ``FILE_NOT_FOUND``.
        source: Which service failed.
        error_code: Deprecated: the same as ``code``.
    """

    message: str
    status_code: int | None = None
    code: str | None = None
    source: str | None = None
    error_code: str | None = None


class FileDownloadResponse(Record):
    """What became of one file of ``download_files``.

    Attributes:
        source: Path in the sandbox, as it was asked for.
        result: Its contents, or the local path it was written to.
        error: Why it could not be read.
        error_details: The same in parts.
    """

    source: str
    result: str | bytes | None = None
    error: str | None = None
    error_details: FileDownloadErrorDetails | None = None


class DownloadProgress(Record):
    """How far a download is.

    Attributes:
        bytes_received: Bytes so far.
        total_bytes: Bytes in all, where the server says.
    """

    bytes_received: int
    total_bytes: int | None = None


class UploadProgress(Record):
    """How far an upload is.

    Attributes:
        bytes_sent: Bytes of the source so far.
    """

    bytes_sent: int


class ContextUploadProgress(Record):
    """What of an image's local files has been uploaded.

    Attributes:
        bytes_sent: Bytes so far; what is stored already counts at once.
        total_bytes: Bytes in all.
    """

    bytes_sent: int
    total_bytes: int | None = None


class SandboxVolume(Model):
    """A volume in a sandbox.

    Attributes:
        volume_id: Id or name of the volume.
        mount_path: Absolute path in the sandbox.
        subpath: Only this folder of the volume.
    """

    volume_id: str
    mount_path: str
    subpath: str | None = None


class BuildInfo(Model):
    """The image a sandbox was built from.

    Attributes:
        dockerfile_content: Text of the Dockerfile.
        context_hashes: Hashes of the uploaded contexts.
        created_at: RFC 3339.
        updated_at: RFC 3339.
        snapshot_ref: Name of what was built.
    """

    dockerfile_content: str | None
    context_hashes: list[str] | None
    created_at: str
    updated_at: str
    snapshot_ref: str


def executed(answer: tuple[int, str]) -> ExecuteResponse:
    """Make the result of a command or program; the one result that is made very often."""
    artifacts = _new(ExecutionArtifacts)
    response = _new(ExecuteResponse)
    fields = response.__dict__
    fields["exit_code"], fields["result"] = answer
    fields["artifacts"] = artifacts
    fields = artifacts.__dict__
    fields["stdout"] = answer[1]
    fields["charts"] = []
    return response


def ran(answer: tuple[int, str, str | None]) -> ExecuteResponse:
    """Make the result of a program; its charts come as JSON text."""
    exit_code, output, charts = answer
    response = executed((exit_code, output))
    if charts and response.artifacts:
        from ._chart import charts as parse

        response.artifacts.charts = parse(charts)
    return response


def reader(model: type[_M]) -> Callable[[Any], _M]:
    """Return what makes a model of the values of its fields, in their order."""
    names = tuple(model._fields)
    return lambda values: model._of(**dict(zip(names, values, strict=True)))


file_info = reader(FileInfo)
match = reader(Match)
replace_result = reader(ReplaceResult)

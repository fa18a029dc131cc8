"""Progress callbacks, plain ones and those that are coroutine functions."""

from __future__ import annotations

from ._results import ContextUploadProgress, DownloadProgress, UploadProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import AsyncIterable, Awaitable, Callable
    from typing import Any


def _sent(sent: int, _total: int | None) -> UploadProgress:
    return UploadProgress._of(bytes_sent=sent)


def of_contexts(sent: int, total: int | None) -> ContextUploadProgress:
    """Say how far the upload of an image's files is."""
    return ContextUploadProgress._of(bytes_sent=sent, total_bytes=total)


class UploadReport:
    """Told by the bridge how far an upload is."""

    def __init__(
        self, callback: Callable[[Any], object] | None, say: Callable[[int, int | None], object] | None = None
    ) -> None:
        self.callback = callback
        self.say = say or _sent

    def __call__(self, sent: int, total: int | None) -> None:
        if self.callback:
            self.callback(self.say(sent, total))

    def source(self, source: Any) -> Any:
        """Return what an upload is read from."""
        return source

    def finish(self) -> None:
        """Wait for callbacks that are under way: there are none."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class AsyncUploadReport(UploadReport):
    """The same; what a callback returns is awaited, one after the other. What it awaits ends with the upload."""

    _last: Task[Any] | None = None
    _source: _Source | None = None

    def source(self, source: Any) -> Any:
        """Return what an upload is read from: something asynchronous is let go of at the end."""
        if hasattr(source, "__aiter__") and not hasattr(source, "read"):
            self._source = _Source(source)
        return self._source or source

    def __call__(self, sent: int, total: int | None) -> None:
        if not self.callback:
            return
        result: Any = self.callback(self.say(sent, total))
        if hasattr(result, "__await__"):
            from asyncio import ensure_future

            self._last = ensure_future(self._after(self._last, result))

    @staticmethod
    async def _after(previous: Task[Any] | None, result: Awaitable[object]) -> None:
        if previous:
            await previous
        await result

    async def finish(self) -> None:  # type: ignore[override]  # the one difference is that it is awaited
        """Wait for callbacks that are under way, and raise what they raise."""
        if self._last:
            await self._last

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        asked = self._source.asked if self._source else None
        if kind:
            # What was moved last may still be told of.
            self.callback = None
        left = [task for task in (asked, self._last if kind else None) if task and not task.done()]
        if left:
            from asyncio import wait

            for task in left:
                task.cancel()
            await wait(left)


class _Source:
    """An asynchronous iterator, and the task that asks it."""

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._iterator = source.__aiter__()
        self.asked: Task[Any] | None = None

    def __aiter__(self) -> _Source:
        return self

    async def __anext__(self) -> bytes:
        from asyncio import current_task

        self.asked = current_task()
        return await self._iterator.__anext__()


def report_download(callback: Callable[[DownloadProgress], object], received: int, total: int | None) -> None:
    """Tell how far a download is."""
    callback(DownloadProgress._of(bytes_received=received, total_bytes=total))


async def async_report_download(
    callback: Callable[[DownloadProgress], object], received: int, total: int | None
) -> None:
    """Tell how far a download is, and await what the callback returns."""
    result: Any = callback(DownloadProgress._of(bytes_received=received, total_bytes=total))
    if hasattr(result, "__await__"):
        await result

"""Parameters and results of transfers."""

from daytona_native import (
    CancelEvent as CancelEvent,
    DownloadProgress as DownloadProgress,
    FileDownloadErrorDetails as FileDownloadErrorDetails,
    FileDownloadRequest as FileDownloadRequest,
    FileDownloadResponse as FileDownloadResponse,
    FileUpload as FileUpload,
    UploadProgress as UploadProgress,
)

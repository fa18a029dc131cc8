"""Parameters and results of terminals."""

from daytona_native import (
    PtyResult as PtyResult,
    PtySize as PtySize,
)

PTY_EXIT_CONTROL_SUBPROTOCOL = "X-Daytona-Pty-Exit-Control"

"""What preview and SSH calls return."""

from __future__ import annotations

from ._model import Model
from ._results import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime


class PortPreviewUrl(Model):
    """Where a port of a sandbox can be reached with its token.

    Attributes:
        sandbox_id: The sandbox.
        url: Absolute, without the token.
        token: To be sent as the header ``X-Daytona-Preview-Token``; another one after each start.
    """

    _secret = frozenset({"token"})

    sandbox_id: str
    url: str
    token: str


class SignedPortPreviewUrl(Model):
    """Where a port of a sandbox can be reached for a time by whoever has the URL.

    Attributes:
        sandbox_id: The sandbox.
        port: The one port it leads to.
        token: A part of the URL; what ``expire_signed_preview_url`` takes.
        url: Absolute, with the token.
    """

    _secret = frozenset({"token", "url"})

    sandbox_id: str
    port: int
    token: str
    url: str


class SshAccessDto(Model):
    """A token that lets its holder in over SSH.

    Attributes:
        id: Of this access.
        sandbox_id: The sandbox.
        token: The SSH user name; there is no password.
        expires_at: When it lets in for the last time.
        created_at: When it was made.
        updated_at: When it was changed.
        ssh_command: For a shell: ``ssh ... TOKEN@HOST``.
    """

    _secret = frozenset({"token", "ssh_command"})

    id: str
    sandbox_id: str
    token: str
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    ssh_command: str


class SshAccessValidationDto(Model):
    """Whether a token lets its holder in.

    Attributes:
        valid: It does.
        sandbox_id: The sandbox it leads to.
    """

    valid: bool
    sandbox_id: str


preview = reader(PortPreviewUrl)
signed_preview = reader(SignedPortPreviewUrl)
validation = reader(SshAccessValidationDto)


def _time(text: str) -> datetime:
    from datetime import datetime

    # Before Python 3.11 the zone has to be written out.
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def ssh(values: tuple[str, str, str, str, str, str, str]) -> SshAccessDto:
    """Make an access of what the bridge returns."""
    id_, sandbox_id, token, expires_at, created_at, updated_at, command = values
    return SshAccessDto._of(
        id=id_,
        sandbox_id=sandbox_id,
        token=token,
        expires_at=_time(expires_at),
        created_at=_time(created_at),
        updated_at=_time(updated_at),
        ssh_command=command,
    )

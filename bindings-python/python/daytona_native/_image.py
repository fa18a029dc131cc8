"""Images: Dockerfiles that are built call by call."""

from __future__ import annotations

import json
import os

from . import _native
from ._errors import DaytonaInvalidArgumentError
from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


class Context(Model):
    """A local file or directory that an image copies.

    Attributes:
        source_path: Where it is.
        archive_path: What the Dockerfile calls it.
        context_dir: The directory whose ``.dockerignore`` holds for it; its own where ``None``.
    """

    source_path: str
    archive_path: str | None
    context_dir: str | None = None


class Image:
    """An image to be built for a sandbox or a snapshot.

    Begin with ``Image.base``, ``Image.debian_slim`` or ``Image.from_dockerfile``. Every method adds to the image and
    returns it; local files are looked for at once and read when something is created from the image.

    Example:
        >>> image = Image.debian_slim("3.12").pip_install("requests").workdir("/home/daytona")
        >>> sandbox = daytona.create(CreateSandboxFromImageParams(image=image), timeout=0)
    """

    def __init__(self) -> None:
        self._dockerfile = ""
        self._context_list: list[Context] = []

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self._dockerfile, self._context_list) == (other._dockerfile, other._context_list)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._dockerfile.splitlines())} lines>"

    def _add(self, step: str, **arguments: Any) -> Image:
        try:
            text = json.dumps({"step": step, **arguments})
        except TypeError as error:
            raise DaytonaInvalidArgumentError(f"the image cannot be built so: {error}") from None
        added = json.loads(_native.image_step(text))
        self._dockerfile += added["dockerfile"]
        for context in added["contextList"]:
            self._context_list.append(
                Context(
                    source_path=context["sourcePath"],
                    archive_path=context["archivePath"],
                    context_dir=context.get("contextDir"),
                )
            )
        return self

    @staticmethod
    def base(image: str) -> Image:
        """Begin with an image of a registry.

        Args:
            image: Its name: ``debian:12.9``.
        """
        return Image()._add("base", image=image)

    @staticmethod
    def debian_slim(python_version: str | None = None) -> Image:
        """Begin with a slim Debian that has Python, pip and compilers.

        Args:
            python_version: ``3.9`` to ``3.13``, or one with its micro version; the running Python's where ``None``.

        Raises:
            DaytonaInvalidArgumentError: There is no image for that version.
        """
        if python_version is None:
            import sys

            python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return Image()._add("debian_slim", pythonVersion=python_version)

    @staticmethod
    def from_dockerfile(path: str | os.PathLike[str], *, strict_context: bool = False) -> Image:
        """Begin with a Dockerfile; what it copies is taken from its directory.

        Args:
            path: Where it is.
            strict_context: Refuse what it copies from outside of that directory.

        Raises:
            DaytonaNotFoundError: There is no such file.
            DaytonaInvalidArgumentError: It is no file, or copies from outside of a strict context.
        """
        return Image()._add("from_dockerfile", path=_local(path), strictContext=strict_context)

    def dockerfile(self) -> str:
        """Return the Dockerfile."""
        return self._dockerfile

    def pip_install(
        self,
        *packages: str | list[str],
        find_links: list[str] | None = None,
        index_url: str | None = None,
        extra_index_urls: list[str] | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Image:
        """Install packages with pip.

        Args:
            packages: What to install, as pip names it: ``requests>=2``.
            find_links: Where to look for archives.
            index_url: Index in place of the usual one.
            extra_index_urls: More indexes.
            pre: Take versions that are not final, too.
            extra_options: More options, as the shell is to read them.
        """
        options = _pip(find_links, index_url, extra_index_urls, pre, extra_options)
        return self._add("pip_install", packages=_flat(packages), options=options)

    def pip_install_from_requirements(
        self,
        requirements_txt: str | os.PathLike[str],
        find_links: list[str] | None = None,
        index_url: str | None = None,
        extra_index_urls: list[str] | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Image:
        """Install what a local requirements file names.

        Args:
            requirements_txt: Where it is.
            find_links: Where to look for archives.
            index_url: Index in place of the usual one.
            extra_index_urls: More indexes.
            pre: Take versions that are not final, too.
            extra_options: More options, as the shell is to read them.

        Raises:
            DaytonaNotFoundError: There is no such file.
        """
        options = _pip(find_links, index_url, extra_index_urls, pre, extra_options)
        return self._add("pip_install_from_requirements", path=_local(requirements_txt), options=options)

    def pip_install_from_pyproject(
        self,
        pyproject_toml: str | os.PathLike[str],
        optional_dependencies: list[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Image:
        """Install the dependencies that a local ``pyproject.toml`` declares.

        Args:
            pyproject_toml: Where it is.
            optional_dependencies: Groups of optional dependencies to install, too.
            find_links: Where to look for archives.
            index_url: Index in place of the usual one.
            extra_index_url: One more index.
            pre: Take versions that are not final, too.
            extra_options: More options, as the shell is to read them.

        Raises:
            DaytonaNotFoundError: There is no such file.
            DaytonaInvalidArgumentError: It declares no dependencies.
        """
        links = [find_links] if find_links else None
        options = _pip(links, index_url, [extra_index_url] if extra_index_url else None, pre, extra_options)
        return self._add(
            "pip_install_from_pyproject",
            path=_local(pyproject_toml),
            optionalDependencies=optional_dependencies or [],
            options=options,
        )

    def add_local_file(self, local_path: str | os.PathLike[str], remote_path: str) -> Image:
        """Copy a local file into the image.

        Args:
            local_path: Where it is.
            remote_path: Where it is to be; its name is added where this ends with a slash.

        Raises:
            DaytonaNotFoundError: There is no such file.
            DaytonaInvalidArgumentError: It is a directory.
        """
        return self._add("add_local_file", path=_local(local_path), remotePath=remote_path)

    def add_local_dir(self, local_path: str | os.PathLike[str], remote_path: str) -> Image:
        """Copy a local directory into the image, without what its ``.dockerignore`` names.

        Args:
            local_path: Where it is.
            remote_path: Where its contents are to be.

        Raises:
            DaytonaNotFoundError: There is no such directory.
            DaytonaInvalidArgumentError: It is a file.
        """
        return self._add("add_local_dir", path=_local(local_path), remotePath=remote_path)

    def run_commands(self, *commands: str | list[str]) -> Image:
        """Run commands while the image is built.

        Args:
            commands: For the shell, or lists of words.
        """
        return self._add("run_commands", commands=commands)

    def env(self, env_vars: Mapping[str, str]) -> Image:
        """Set environment variables.

        Args:
            env_vars: Their values by their names.

        Raises:
            DaytonaInvalidArgumentError: A name that cannot be one, or a value that is no text.
        """
        return self._add("env", variables=list(env_vars.items()))

    def workdir(self, path: str | os.PathLike[str]) -> Image:
        """Set the working directory.

        Args:
            path: Where in the image.
        """
        return self._add("workdir", path=os.fspath(path))

    def entrypoint(self, entrypoint_commands: list[str]) -> Image:
        """Set the entrypoint.

        Args:
            entrypoint_commands: The program and its arguments.
        """
        return self._add("entrypoint", command=_flat(_words("entrypoint_commands", entrypoint_commands)))

    def cmd(self, cmd: list[str]) -> Image:
        """Set the default command.

        Args:
            cmd: The program and its arguments.
        """
        return self._add("cmd", command=_flat(_words("cmd", cmd)))

    def dockerfile_commands(
        self,
        dockerfile_commands: list[str],
        context_dir: str | os.PathLike[str] | None = None,
        *,
        strict_context: bool = False,
    ) -> Image:
        """Add lines of a Dockerfile; what they copy is taken from a local directory.

        Args:
            dockerfile_commands: The lines.
            context_dir: The directory; the current one where ``None``.
            strict_context: Refuse what they copy from outside of ``context_dir``, which is needed then.

        Raises:
            DaytonaNotFoundError: There is no such directory.
            DaytonaInvalidArgumentError: It is a file, or something is copied from outside of a strict context.
        """
        return self._add(
            "dockerfile_commands",
            commands=_words("dockerfile_commands", dockerfile_commands),
            contextDir=_local(context_dir) if context_dir else None,
            strictContext=strict_context,
        )


def _local(path: str | os.PathLike[str]) -> dict[str, str]:
    given = os.fspath(path)
    return {"given": given, "expanded": os.path.expanduser(given)}  # noqa: PTH111


def _words(name: str, given: Iterable[Any]) -> list[Any]:
    # The characters of a string would be words of their own.
    if isinstance(given, str):
        raise DaytonaInvalidArgumentError(f"{name} must be a list of strings, not one string")
    return list(given)


def _flat(given: Iterable[str | list[str]]) -> list[str]:
    return [word for one in given for word in ([one] if isinstance(one, str) else one)]


def _pip(
    find_links: list[str] | None,
    index_url: str | None,
    extra_index_urls: list[str] | None,
    pre: bool,
    extra_options: str,
) -> dict[str, Any]:
    return {
        "findLinks": find_links,
        "indexUrl": index_url,
        "extraIndexUrls": extra_index_urls,
        "pre": bool(pre),
        "extraOptions": extra_options,
    }

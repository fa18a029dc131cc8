"""What language servers take and return."""

from __future__ import annotations

from enum import Enum

from ._model import Model, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Symbol = tuple[str, int, str, tuple[int, int], tuple[int, int]]


class LspLanguageId(str, Enum):
    """Languages that there are language servers for."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"
    JAVASCRIPT = "javascript"

    def __str__(self) -> str:
        return self.value


class LspCompletionPosition(Record):
    """A place in a file.

    Attributes:
        line: From 0.
        character: From 0, in UTF-16 units.
    """

    line: int
    character: int


class LspPosition(Record):
    """A place in a file.

    Attributes:
        line: From 0.
        character: From 0, in UTF-16 units.
    """

    line: int
    character: int


class LspRange(Model):
    """A stretch of a file.

    Attributes:
        start: The first place of it.
        end: The first place after it.
    """

    start: LspPosition
    end: LspPosition


class LspLocation(Model):
    """A stretch of some file.

    Attributes:
        uri: ``file://`` and a path.
        range: Where in it.
    """

    uri: str
    range: LspRange


class LspSymbol(Model):
    """A name that a program defines.

    Attributes:
        kind: ``SymbolKind`` of the language server protocol: 5 is a class, 12 a function, 13 a variable.
        location: Where it is defined.
        name: The name.
    """

    kind: int
    location: LspLocation
    name: str


class CompletionItem(Model):
    """One completion.

    Attributes:
        detail: Such as a signature.
        documentation: A dict with ``kind`` (``plaintext`` or ``markdown``) and ``value``.
        filter_text: What to filter by; the label where ``None``.
        insert_text: What to insert; the label where ``None``.
        kind: ``CompletionItemKind`` of the language server protocol: 2 is a method, 3 a function, 6 a variable.
        label: What is shown.
        sort_text: What to sort by; the label where ``None``.
    """

    detail: str | None = None
    documentation: dict[str, Any] | None = None
    filter_text: str | None = None
    insert_text: str | None = None
    kind: int | None = None
    label: str
    sort_text: str | None = None


class CompletionList(Model):
    """What may come.

    Attributes:
        is_incomplete: More typing may bring others.
        items: In the language server's order.
    """

    is_incomplete: bool
    items: list[CompletionItem]


def symbols(found: list[_Symbol]) -> list[LspSymbol]:
    """Make symbols of what the bridge gives."""

    def one(name: str, kind: int, uri: str, start: tuple[int, int], end: tuple[int, int]) -> LspSymbol:
        stretch = LspRange._of(start=LspPosition(*start), end=LspPosition(*end))
        return LspSymbol._of(kind=kind, location=LspLocation._of(uri=uri, range=stretch), name=name)

    return [one(*values) for values in found]


def completions(values: tuple[bool, list[tuple[Any, ...]]]) -> CompletionList:
    """Make a list of what the bridge gives."""
    from json import loads

    names = tuple(CompletionItem._fields)
    is_incomplete, found = values
    items = [CompletionItem._of(**dict(zip(names, one, strict=True))) for one in found]
    for item in items:
        if item.documentation is not None:
            item.documentation = loads(str(item.documentation))
    return CompletionList._of(is_incomplete=is_incomplete, items=items)

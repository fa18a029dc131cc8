"""Parameters and results: classes with fields, keyword arguments and a few methods of pydantic models.

There is no pydantic here, so that the package has no dependencies; the methods that programs use on
the official models work the same way.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from inspect import Signature
    from typing import Any, ClassVar

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        """Do nothing at run time."""
        return lambda cls: cls


def suggestion(name: str, known: Collection[str]) -> str:
    """Say which of the known names is the nearest one."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    return f". Did you mean {close[0]!r}?" if close else f". It has: {', '.join(known)}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _plain(value: object, mode: str, by_alias: bool, exclude_none: bool) -> object:
    if isinstance(value, Model):
        return value.model_dump(mode=mode, by_alias=by_alias, exclude_none=exclude_none)
    if isinstance(value, (list, tuple)):
        return [_plain(item, mode, by_alias, exclude_none) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, mode, by_alias, exclude_none) for key, item in value.items()}
    if mode == "json":
        if isinstance(value, str):
            return str.__str__(value)
        if hasattr(value, "isoformat"):
            return value.isoformat()
        if hasattr(value, "__fspath__"):
            return value.__fspath__()
    return value


class _LazySignature:
    """``__signature__`` of a class, made when somebody inspects it."""

    def __get__(self, _: object, owner: type[Model]) -> Signature:
        from inspect import Parameter, Signature

        kind = Parameter.POSITIONAL_OR_KEYWORD if owner._positional else Parameter.KEYWORD_ONLY
        parameters = [
            Parameter(name, kind, default=getattr(owner, name, Parameter.empty), annotation=annotation)
            for name, annotation in owner._fields.items()
        ]
        return Signature(parameters, return_annotation=None)


@dataclass_transform(kw_only_default=True)
class Model:
    """Fields by keyword; an unknown one is a ``TypeError``, so that a typing error is seen."""

    _fields: ClassVar[dict[str, str]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _positional: ClassVar[bool] = False
    _secret: ClassVar[frozenset[str]] = frozenset()
    # Keys that the constructor takes besides the fields.
    _also: ClassVar[frozenset[str]] = frozenset()
    # Fields whose types are looked at elsewhere.
    _unchecked: ClassVar[frozenset[str]] = frozenset()
    # Fields by which an object of another package is known to be of this kind; the required ones where empty.
    _known_by: ClassVar[tuple[str, ...]] = ()
    if TYPE_CHECKING:
        __signature__: ClassVar[Signature]
    else:
        __signature__ = _LazySignature()
        __hash__ = None

    def __init_subclass__(cls) -> None:
        """Collect the fields: the annotated names, those of base classes first."""
        fields: dict[str, str] = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update(getattr(base, "_fields", {}))
        for name, annotation in cls.__annotations__.items():
            if not name.startswith("_") and not str(annotation).startswith("ClassVar"):
                fields[name] = annotation
        cls._fields = fields
        cls._defaults = {name: getattr(cls, name) for name in fields if hasattr(cls, name)}

    def __init__(self, *args: Any, **values: Any) -> None:
        cls = type(self)
        if args:
            self._name(args, values)
        state = {**cls._defaults, **values}
        if state.keys() != cls._fields.keys():
            self._refuse(values)
        self.__dict__.update(state)

    @classmethod
    def _name(cls, args: tuple[Any, ...], values: dict[str, Any]) -> None:
        """Put what was given by position to what was given by name."""
        if not cls._positional or len(args) > len(cls._fields):
            allowed = len(cls._fields) if cls._positional else 0
            raise TypeError(f"{cls.__name__} takes at most {allowed} positional arguments, not {len(args)}")
        for name, value in zip(cls._fields, args, strict=False):
            if name in values:
                raise TypeError(f"{cls.__name__} got {name!r} twice")
            values[name] = value

    @classmethod
    def _refuse(cls, values: dict[str, Any]) -> None:
        """Say which field is unknown or missing."""
        for name in values:
            if name not in cls._fields:
                raise TypeError(f"{cls.__name__} has no field {name!r}{suggestion(name, cls._fields)}")
        missing = next(name for name in cls._fields if name not in values and name not in cls._defaults)
        raise TypeError(f"{cls.__name__} needs {missing!r}")

    @classmethod
    def _of(cls, **values: Any) -> Self:
        """Make one of values that are known to be complete."""
        self = object.__new__(cls)
        self.__dict__.update(values)
        return self

    @classmethod
    def _marks(cls) -> tuple[str, ...]:
        return cls._known_by or tuple(name for name in cls._fields if name not in cls._defaults)

    @classmethod
    def _alias(cls, name: str) -> str:
        """Return the API's name of a field."""
        return _camel(name)

    if not TYPE_CHECKING:  # a checker that sees this one accepts any name

        def __setattr__(self, name: str, value: object) -> None:
            if name not in self._fields:
                raise AttributeError(f"{type(self).__name__} has no field {name!r}{suggestion(name, self._fields)}")
            self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        shown = ("'**********'" if name in self._secret and value else repr(value) for name, value in self)
        fields = ", ".join(f"{name}={value}" for name, value in zip(self._fields, shown, strict=True))
        return f"{type(self).__name__}({fields})"

    def __iter__(self) -> Any:
        """Yield ``(name, value)`` of each field."""
        return ((name, getattr(self, name)) for name in self._fields)

    @property
    def model_fields_set(self) -> set[str]:
        """Names of the fields that differ from their defaults."""
        return {name for name, value in self if name not in self._defaults or self._defaults[name] != value}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with the fields in ``update`` replaced; ``deep`` copies the values too."""
        from copy import deepcopy

        values = {name: deepcopy(value) if deep else value for name, value in self}
        return type(self)(**{**values, **(update or {})})

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        by_alias: bool = False,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """Return the fields as a dict, models inside included.

        Args:
            mode: ``"python"`` keeps enums and times, ``"json"`` makes them text.
            include: Only these fields.
            exclude: All but these fields.
            by_alias: camelCase names, as the API has them.
            exclude_unset: The same as ``exclude_defaults``.
            exclude_defaults: Leave out fields that have their default value.
            exclude_none: Leave out fields that are ``None``.
        """
        names = self.model_fields_set if exclude_unset or exclude_defaults else self._fields
        result = {}
        for name, value in self:
            if name not in names or (include is not None and name not in include) or (exclude and name in exclude):
                continue
            if value is None and exclude_none:
                continue
            result[self._alias(name) if by_alias else name] = _plain(value, mode, by_alias, exclude_none)
        return result

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False, by_alias: bool = False) -> str:
        """Return the fields as JSON text."""
        from json import dumps

        return dumps(self.model_dump(mode="json", exclude_none=exclude_none, by_alias=by_alias), indent=indent)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are not ``None`` under the API's names."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @classmethod
    def model_validate(cls, obj: Mapping[str, Any]) -> Self:
        """Make one from a mapping of fields; raise ``TypeError`` for one that is unknown."""
        return cls(**obj)


@dataclass_transform()
class Record(Model):
    """A model whose fields can be given by position too."""

    _positional = True

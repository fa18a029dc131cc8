"""What callers pass in where a parameter object is expected, read so that nothing of it is dropped.

That is an instance of the class, or of the official package's class of the same fields, or a dict with these fields.
Anything else is refused, and so is a field that is not known or of another type, before anything is sent.
"""

from __future__ import annotations

from _collections_abc import Mapping  # loaded already, which collections is not

from ._model import Model, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn, TypeVar

    from ._params import CreateSandboxBaseParams

    _M = TypeVar("_M", bound=Model)

_MISSING: Any = object()
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "bytes": "bytes",
    "None": "None",
    "datetime": "a datetime",
    "os.PathLike[str]": "a path",
}


def refuse(message: str) -> NoReturn:
    """Refuse an argument."""
    from ._errors import DaytonaInvalidArgumentError

    raise DaytonaInvalidArgumentError(message)


def given(argument: str, value: object, kind: type[_M]) -> _M:
    """Return a parameter object as its class has it.

    Args:
        argument: What the caller calls it.
        value: What the caller has passed.
        kind: The class it has to be of.

    Raises:
        DaytonaInvalidArgumentError: It is nothing of the kind, or a field is not known, missing or of another type.
    """
    if isinstance(value, kind):
        made = value
    elif isinstance(value, Mapping):
        made = _from_mapping(argument, value, kind)
    elif _is_alike(value, kind):
        made = _from_alike(argument, value, kind)
    else:
        refuse(f"{argument} must be {_a(kind.__name__)} or a dict with its fields, not {_a(type(value).__name__)}")
    return _fitted(argument, made)


def given_or_none(argument: str, value: object, kind: type[_M]) -> _M | None:
    """Do as ``given``, where ``None`` is fine too."""
    return None if value is None else given(argument, value, kind)


def given_list(argument: str, values: object, kind: type[_M]) -> list[_M]:
    """Do as ``given`` for each of several."""
    name = kind.__name__
    if isinstance(values, (str, bytes, bytearray, Mapping, Model)) or not hasattr(values, "__iter__"):
        refuse(f"{argument} must be a list of {name} or of dicts, not {_a(type(values).__name__)}")
    several: Iterable[object] = values
    return [given(f"{argument}[{number}]", one, kind) for number, one in enumerate(several)]


def given_id(argument: str, value: object, kind: type[Model], hint: str) -> str:
    """Return the id of a thing that a call is about; the thing may be a dict with its fields.

    Args:
        argument: What the caller calls it.
        value: What the caller has passed.
        kind: The class of such things.
        hint: Where to get one.
    """
    if isinstance(value, Mapping):
        for key in value:
            _known(argument, key, kind)
        found = value.get("id")
    elif isinstance(value, kind) or _is_alike(value, kind):
        found = value.id  # type: ignore[attr-defined]  # one of the marks
    else:
        refuse(f"{argument} must be {_a(kind.__name__)}, not {_a(type(value).__name__)}. {hint}")
    if not isinstance(found, str) or not found:
        refuse(f"{argument}.id must be text that is not empty")
    return found


def given_sandbox_params(value: object) -> CreateSandboxBaseParams | None:
    """Return the parameters of a new sandbox: those of the class that has what is given."""
    from ._params import CreateSandboxBaseParams, CreateSandboxFromImageParams, CreateSandboxFromSnapshotParams

    if value is None:
        return None
    kind: type[CreateSandboxBaseParams] = CreateSandboxFromSnapshotParams
    if isinstance(value, Mapping):
        # Whatever goes with only one of the two says which it is; what excludes each other is refused.
        excluded = ("image", "resources", "snapshot")
        value = {key: one for key, one in value.items() if one is not None or key not in excluded}
        if "image" in value and "snapshot" in value:
            refuse("params has both image and snapshot, which exclude each other. Pass one of them")
        if "image" in value:
            kind = CreateSandboxFromImageParams
        elif "resources" in value:
            refuse("params.resources can only be given with params.image: a snapshot has its own")
    elif isinstance(value, CreateSandboxBaseParams):
        kind = CreateSandboxBaseParams
    elif isinstance(value, str):
        refuse(f'params must be a {kind.__name__} or a dict with its fields, not text. Pass {{"snapshot": {value!r}}}')
    elif hasattr(value, "image"):
        kind = CreateSandboxFromImageParams
    return given("params", value, kind)


def given_mapping(argument: str, value: object) -> dict[str, Any]:
    """Return the keys and values of what may be ``None``."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        refuse(f"{argument} must be a dict, not {_a(type(value).__name__)}")
    return dict(value)


def given_texts(argument: str, value: object) -> dict[str, str] | None:
    """Do as ``some_texts``, where ``None`` is fine too."""
    return None if value is None else some_texts(argument, value)


def some_texts(argument: str, value: object) -> dict[str, str]:
    """Return names with texts, such as an environment."""
    found: Any = _dict(argument, value, "dict[str, str]")
    if found is _MISSING:
        refuse(f"{argument} must be a dict of texts, not {_a(type(value).__name__)}")
    return found  # type: ignore[no-any-return]


def given_text_list(argument: str, value: object) -> list[str]:
    """Return a list of texts, not the letters of one."""
    found: list[str] = list(_fit(argument, value, "list[str]"))
    return found


def given_sandbox(value: object, kind: type[Any]) -> Any:
    """Return a sandbox to do something with: one of this client's kind, or what can do the same."""
    if isinstance(value, kind):
        return value
    if _is_own(value) or not all(hasattr(value, name) for name in ("id", "start", "stop", "delete")):
        name, got = _a(kind.__name__), _a(type(value).__name__)
        refuse(f"sandbox must be {name}, not {got}. create, get and list give one")
    return value


def _is_own(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == __name__.partition(".")[0]


def _is_alike(value: object, kind: type[Model]) -> bool:
    """Tell whether it is of another package's class that has the fields by which the kind is known."""
    return not _is_own(value) and all(hasattr(value, name) for name in kind._marks())


def _a(name: str) -> str:
    return ("an " if name[:1] in "AEIOUaeiou" else "a ") + name


def _known(argument: str, key: object, kind: type[Model]) -> str:
    """Return the field that a key means; the API's spelling of it is fine too."""
    if isinstance(key, str):
        if key in kind._fields or key in kind._also:
            return key
        for name in kind._fields:
            if kind._alias(name) == key:
                return name
    refuse(f"{argument} has no key {key!r}{suggestion(str(key), kind._fields)}")


def _from_mapping(argument: str, given: Mapping[Any, object], kind: type[_M]) -> _M:
    values: dict[str, object] = {}
    for key, value in given.items():
        name = _known(argument, key, kind)
        if name in values:
            refuse(f"{argument} has {name!r} twice, in two spellings")
        values[name] = value
    for name in kind._fields:
        if name not in values and name not in kind._defaults:
            refuse(f"{argument} needs {name!r}")
    return kind(**values)


def _from_alike(argument: str, value: object, kind: type[_M]) -> _M:
    state = getattr(value, "__dict__", {})
    for name, one in state.items():
        if not name.startswith("_") and name not in kind._fields and one not in (None, {}, []):
            refuse(
                f"{argument} is {_a(type(value).__name__)} with {name!r}, which {kind.__name__} does not have"
                f"{suggestion(name, kind._fields)}"
            )
    # What it has as a value is not asked for: fields that are deprecated warn.
    found = {name: state[name] if name in state else getattr(value, name, _MISSING) for name in kind._fields}
    return kind._of(**{**kind._defaults, **{name: one for name, one in found.items() if one is not _MISSING}})


def _fitted(argument: str, made: _M) -> _M:
    """Return it with values of the types of its fields; itself where they are."""
    changed = {}
    for name, annotation in made._fields.items():
        # Those of a caller's own subclass may be of any kind.
        if name in made._unchecked or not isinstance(annotation, str):
            continue
        value = getattr(made, name)
        fitted = _fit(f"{argument}.{name}", value, annotation)
        if fitted is not value:
            changed[name] = fitted
    if not changed:
        return made
    return type(made)._of(**{**made.__dict__, **changed})


def _fit(path: str, value: object, annotation: str) -> Any:
    wanted = annotation.split(" | ")
    for one in wanted:
        fitted = _fit_one(path, value, one)
        if fitted is not _MISSING:
            return fitted
    words = [_words(one) for one in wanted if one != "None"]
    refuse(f"{path} must be {' or '.join(dict.fromkeys(words))}, not {_a(type(value).__name__)}")


def _words(wanted: str) -> str:
    if wanted.startswith("list["):
        return "a list"
    if wanted.startswith("dict["):
        return "a dict"
    return _WORDS.get(wanted) or _a(wanted)


def _fit_one(path: str, value: object, wanted: str) -> Any:
    """Return the value as one of the types of a field has it, ``_MISSING`` where it is none of these."""
    if wanted == "None":
        return value if value is None else _MISSING
    if wanted == "Any":
        return value
    if value is None:
        return _MISSING
    simple = _SIMPLE.get(wanted)
    if simple is not None:
        return simple(value)
    if wanted.startswith("list["):
        return _list(path, value, wanted[5:-1])
    if wanted.startswith("dict["):
        return _dict(path, value, wanted)
    return _named(path, value, wanted)


def _text(value: object) -> Any:
    return value if isinstance(value, str) else _MISSING


def _whole(value: Any) -> Any:
    """Whole numbers, and what says one: the official models read these too."""
    if hasattr(value, "__index__"):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        try:
            return int(value)
        except ValueError:
            return _MISSING
    return _MISSING


def _number(value: object) -> Any:
    return value if hasattr(value, "__float__") or hasattr(value, "__index__") else _MISSING


def _truth(value: object) -> Any:
    """Truth values, and what says one: the official models read these too."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        said = value.lower()
        return True if said in _TRUE else False if said in _FALSE else _MISSING
    # That of numpy, for one.
    return bool(value) if type(value).__name__ in ("bool", "bool_") else _MISSING


def _time(value: object) -> Any:
    return value if hasattr(value, "astimezone") else _MISSING


def _path(value: object) -> Any:
    return value if hasattr(value, "__fspath__") else _MISSING


_SIMPLE = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _truth,
    "datetime": _time,
    "os.PathLike[str]": _path,
}


def _list(path: str, value: object, wanted: str) -> Any:
    if not isinstance(value, (list, tuple, set, frozenset)):
        return _MISSING
    fitted = [_fit(f"{path}[{number}]", one, wanted) for number, one in enumerate(value)]
    same = isinstance(value, list) and all(one is other for one, other in zip(fitted, value, strict=True))
    return value if same else fitted


def _dict(path: str, value: object, wanted: str) -> Any:
    if not isinstance(value, Mapping):
        return _MISSING
    if wanted == "dict[str, str]":
        for key, one in value.items():
            if not isinstance(key, str):
                refuse(f"{path} has the key {key!r}, which must be text")
            if not isinstance(one, str):
                refuse(f"{path}[{key!r}] must be text, not {_a(type(one).__name__)}")
    return value if isinstance(value, dict) else dict(value)


def _named(path: str, value: object, wanted: str) -> Any:
    """Return a value of a class of this package."""
    import sys

    kind = getattr(sys.modules[__package__], wanted, None)
    if isinstance(kind, type) and issubclass(kind, Model):
        return given(path, value, kind)
    if isinstance(kind, type) and issubclass(kind, str):
        return _text(value)
    # Images, which the bridge reads, and what a caller's own subclass has.
    return value

"""Configurations that can be exchanged: encoders, methods, optimizers, augmentations.

A configuration is a frozen keyword-only dataclass. Where one of several kinds may stand, a file and a command line name
the kind: a key of a plain dictionary of ours such as `ENCODERS`, or `package.module:Name` for a class of one's own.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

C = TypeVar("C")


def kind_of(config: object) -> str:
    """The name under which files and command lines know the class of a configuration."""
    cls: Any = config if isinstance(config, type) else type(config)
    kind = vars(cls).get("kind", "")
    # A kind that a class of one's own gives itself is not looked up anywhere: its import path is.
    return kind if kind and cls.kinds().get(kind) is cls else f"{cls.__module__}:{cls.__qualname__}"


def find_kind(base: type[C], kinds: Mapping[str, type[C]], name: str) -> type[C]:
    """The class of this name: one of `kinds`, or an importable one. Raises ValueError naming what there is."""
    if name in kinds:
        return kinds[name]
    if ":" not in name:
        raise ValueError(f"there is no {name}; choose {', '.join(kinds)}, or give your own as package.module:Name")
    found = find_object(name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{name} is not a {base.__name__}")
    return found


def find_object(name: str) -> Any:
    """What `package.module:Name` names. Raises ValueError where it cannot be imported."""
    module, _, attribute = name.partition(":")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be imported ({error}); put its folder on PYTHONPATH") from None


def to_json(value: Any) -> Any:
    """A configuration as plain JSON values; one that may be of several kinds carries its `kind`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        return {"kind": kind_of(value), **fields} if hasattr(type(value), "kind") else fields
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_json(base: type[C], kinds: Mapping[str, type[C]], values: Mapping[str, Any]) -> C:
    """The configuration that `to_json` wrote. Raises ValueError or TypeError where the values do not fit."""
    fields = dict(values)
    return _built(find_kind(base, kinds, fields.pop("kind")), fields)


def _built(cls: type[C], values: Mapping[str, Any]) -> C:
    hints = typing.get_type_hints(cls)
    unknown = set(values) - set(hints)
    if unknown:
        raise ValueError(f"{cls.__name__} has no setting {min(unknown)}")
    fields = {}
    for name, value in values.items():
        try:
            fields[name] = _value(hints[name], value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
    return cls(**fields)


def _value(hint: Any, value: Any) -> Any:
    """A JSON value as what a field of this type holds."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _value(hint, value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_value(arguments[0], item) for item in value)
        return tuple(_value(inner, item) for inner, item in zip(arguments, value, strict=True))
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{value!r:.40} is none of {', '.join(map(str, arguments))}")
        return value
    if hint in (bool, str) and not isinstance(value, hint):
        raise ValueError(f"{value!r:.40} must be {'true or false' if hint is bool else 'a text'}")
    if not dataclasses.is_dataclass(hint):
        return Path(value) if hint is Path else value
    base = typing.cast(Any, hint)
    if hasattr(base, "kinds"):
        return from_json(base, base.kinds(), value)
    return _built(typing.cast(type, hint), value)

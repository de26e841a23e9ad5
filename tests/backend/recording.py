"""A namespace that computes with NumPy and writes down what it is asked for; its arrays refuse what CuPy's refuse.

Arrays are no NumPy arrays: NumPy functions, NumPy numbers and host arrays raise on them, as they do on CuPy. What would
make a GPU's host wait (`float`, `bool`, `int`, ..) is done and noted as a sync, a copy to the host as a get.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import array_api_compat.numpy
import numpy as np

from mipin_ref.backend import Backend, get_backend

BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
UNARY = ("neg", "pos", "abs", "invert")
WAITING = ("float", "bool", "int", "index", "complex")


@dataclass(frozen=True)
class Call:
    """A distinct call; path: below the namespace, or "ndarray.name" of an array's operator or attribute.

    kinds: a dtype character for an array, a type's name for anything else; a list of them for a sequence of arrays.
    """

    path: str
    kinds: tuple[Any, ...] = ()
    keywords: frozenset[str] = frozenset()


@dataclass
class Log:
    """calls: all that are distinct; events: what a GPU's host waits for, in order, among the marks of a test."""

    calls: set[Call] = field(default_factory=set)
    events: list[str] = field(default_factory=list)

    def note(self, path: str, *args: Any, **keywords: Any) -> None:
        self.calls.add(Call(path, tuple(map(kind, args)), frozenset(keywords)))


def kind(value: Any) -> Any:
    if isinstance(value, Array | np.ndarray):
        return value.dtype.char
    if isinstance(value, list | tuple) and value and isinstance(value[0], Array):
        return tuple(map(kind, value))
    return type(value).__name__


class Array:
    """A NumPy array in disguise."""

    __slots__ = ("_a", "_log")
    __hash__ = None  # type: ignore[assignment]
    __iter__ = None

    def __init__(self, a: Any, log: Log) -> None:
        self._a, self._log = np.asarray(a), log

    def __getattr__(self, name: str) -> Any:
        if name not in ("T", "shape", "dtype", "ndim", "size"):
            raise AttributeError(f"arrays of the standard have no {name!r}")
        self._log.note(f"ndarray.{name}")
        found = getattr(self._a, name)
        return Array(found, self._log) if name == "T" else found

    def __len__(self) -> int:
        self._log.note("ndarray.__len__")
        return len(self._a)

    def __getitem__(self, index: Any) -> Array:
        self._log.note("ndarray.__getitem__")
        return Array(self._a[checked_index(index)], self._log)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._log.note("ndarray.__setitem__")
        self._a[checked_index(index)] = unwrapped(value)

    def to_device(self, device: Any, stream: Any = None) -> Array:
        assert device == "cpu"
        return self

    def __dlpack_device__(self) -> Any:
        return self._a.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        self._log.events.append("get")
        return np.array(self._a).__dlpack__(**options)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("a device array does not become a NumPy array by itself")

    def item(self) -> Any:
        return self._waited("item")

    def tolist(self) -> Any:
        return self._waited("tolist")

    def _waited(self, name: str) -> Any:
        self._log.note(f"ndarray.{name}")
        self._log.events.append(f"sync {name}")
        return getattr(self._a, name)()


def checked_index(index: Any) -> Any:
    """Basic indexing alone: an array of booleans makes the host wait for its count."""
    for part in index if isinstance(index, tuple) else (index,):
        if not isinstance(part, int | slice) and part is not None and part is not Ellipsis:
            raise TypeError(f"an index of a device array is a {type(part).__name__}")
    return index


def unwrapped(value: Any) -> Any:
    if isinstance(value, Array):
        return value._a
    if isinstance(value, list | tuple):
        return type(value)(map(unwrapped, value))
    if isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a NumPy {type(value).__name__} among device arrays")
    return value


def _operator(name: str) -> Any:
    def method(self: Array, *others: Any) -> Array:
        self._log.note(f"ndarray.{name}", self, *others)
        return Array(getattr(self._a, name)(*map(unwrapped, others)), self._log)

    return method


def _in_place(name: str) -> Any:
    def method(self: Array, other: Any) -> Array:
        self._log.note(f"ndarray.{name}", self, other)
        getattr(self._a, name)(unwrapped(other))
        return self

    return method


def _waiting(name: str) -> Any:
    return lambda self: self._waited(name)


for _name in BINARY:
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Array, f"__r{_name}__", _operator(f"__r{_name}__"))
    setattr(Array, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in (*COMPARED, *UNARY):
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))
for _name in WAITING:
    setattr(Array, f"__{_name}__", _waiting(f"__{_name}__"))


class Namespace:
    """array_api_compat.numpy, or a namespace in it, on such arrays."""

    def __init__(self, log: Log, module: ModuleType = array_api_compat.numpy, path: str = "") -> None:
        self._log, self._module, self._path = log, module, path
        self.__name__ = "recording"

    def __getattr__(self, name: str) -> Any:
        found, path = getattr(self._module, name), self._path + name
        if isinstance(found, ModuleType):
            return Namespace(self._log, found, f"{path}.")
        if isinstance(found, type | float):
            self._log.note(path)
            return found

        def called(*args: Any, **keywords: Any) -> Any:
            self._log.note(path, *args, **keywords)
            given = args if path == "asarray" and isinstance(args[0], np.ndarray) else tuple(map(unwrapped, args))
            return self._wrapped(found(*given, **{key: unwrapped(value) for key, value in keywords.items()}))

        return called

    def _wrapped(self, found: Any) -> Any:
        if isinstance(found, tuple):
            return tuple(map(self._wrapped, found))
        return Array(found, self._log) if isinstance(found, np.ndarray | np.generic) else found


def recording(log: Log, dtype: str = "float64") -> Backend:
    """A backend that writes to `log`."""
    return get_backend(Backend(Namespace(log), None, "float64"), dtype)

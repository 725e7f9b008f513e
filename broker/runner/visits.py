"""cwltool's walks over values, for which most of what they meet is text or a number and asked once only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping, MutableSequence
from types import ModuleType
from typing import Any

_PLAIN = frozenset((str, int, float, bool, type(None)))
_CLASSES = {
    "visit_files": ("File",),
    "visit_directories": ("Directory",),
    "visit_files_directories": ("File", "Directory"),
}


def install(modules: Iterable[ModuleType]) -> None:
    """Have cwltool's modules walk by these functions; the first is the one that defines cwltool's own."""
    for name, classes in _CLASSES.items():
        for module in modules:
            if hasattr(module, name):
                setattr(module, name, _visit(classes))


def _visit(classes: tuple[str, ...]) -> Callable[[Any, Callable[[Any], Any]], None]:
    def visit(value: Any, operation: Callable[[Any], Any]) -> None:
        """Call `operation` with each mapping below `value` that has one of the classes, outer ones first."""
        kind = type(value)
        if kind in _PLAIN:
            return
        if kind is dict or isinstance(value, MutableMapping):
            if value.get("class") in classes:
                operation(value)
            for key in value:
                one = value[key]
                if type(one) not in _PLAIN:
                    visit(one, operation)
        elif kind is list or isinstance(value, MutableSequence):
            for one in value:
                if type(one) not in _PLAIN:
                    visit(one, operation)

    return visit

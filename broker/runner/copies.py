"""Deep copies of YAML values, which cwltool makes by the hundred: ruamel copies their line numbers object by object."""

from __future__ import annotations

import copy
from typing import Any

from ruamel.yaml.anchor import Anchor
from ruamel.yaml.comments import Comment, CommentedBase, CommentedSeq, Format, LineCol, merge_attrib
from ruamel.yaml.tag import Tag

_OTHERS = (Comment.attrib, Format.attrib, Anchor.attrib, Tag.attrib, merge_attrib)


def install() -> None:
    """For the whole process; a package is loaded in a child of its own."""
    setattr(CommentedBase, "copy_attributes", _copy_attributes)  # noqa: B010  mypy minds assigning methods
    setattr(CommentedSeq, "__deepcopy__", _deepcopy)  # noqa: B010


def _copy_attributes(self: Any, target: Any, memo: Any = None) -> Any:
    """What ruamel copies, with line numbers copied as the numbers that they are."""
    place = getattr(self, LineCol.attrib, None)
    if place is not None:
        copied = copy.copy(place)  # schema-salad has put the name of the file there
        copied.data = None if place.data is None else dict(place.data)
        setattr(target, LineCol.attrib, copied)
    for name in _OTHERS:
        value = getattr(self, name, None)
        if value is not None:
            setattr(target, name, value if memo is None else copy.deepcopy(value))
    return target


def _deepcopy(self: Any, memo: Any) -> Any:
    """ruamel's, which copies the attributes of a list again for each of its items."""
    found = self.__class__()
    memo[id(self)] = found
    for item in self:
        found.append(copy.deepcopy(item, memo))
    return self.copy_attributes(found, memo=memo)

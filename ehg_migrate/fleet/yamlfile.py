"""One YAML file, read as `yaml.safe_load` would, with bounds on its size and with what safe_load lets pass reported.

safe_load keeps the last of two equal keys, turns the key `on` into True, and lets ten lines of aliases stand for a
billion values: all three are found here on the parsed nodes, before anything is built from them.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from ehg_migrate.fleet.private import read_bytes
from ehg_migrate.fleet.problems import Refused, Report, clip

LARGEST_FILE = 1024 * 1024
LARGEST_DOCUMENT = 200_000  # values, each alias counted as often as it is used
DEEPEST = 32
LONGEST_NUMBER = 100  # characters; YAML 1.1's `1:59:59...` takes time that grows with the square of its length

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where PyYAML has libyaml
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: |$)", re.MULTILINE)
_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_STANDARD = "tag:yaml.org,2002:"
# where PyYAML without libyaml quotes a word of the file behind its message
_NAMED = re.compile(r"(found undefined alias|found duplicate anchor|undefined tag handle|unknown directive)\b.*")


def read_yaml(path: Path, place: str, report: Report) -> Any:
    """The file's content, or None if it cannot be had; every mistake goes to `report`. Raises nothing."""
    try:
        text = _read_text(path)
        node = _compose(text)
        _Walk(place, report).visit(node, ())
        return _text_keys(_construct(node))
    except Refused as refused:
        report.refuse(refused, place)
        return None


# ------------------------------------------------------------------------------------------------------------ text


def _read_text(path: Path) -> str:
    try:
        data = _read_bytes(path)
    except OSError as e:
        raise Refused(
            "file_unreadable", f"the file cannot be read: {e.strerror}", "make it readable, or remove it"
        ) from e
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise Refused("not_utf8", f"the file is not UTF-8: line {line}", "save it as UTF-8") from e
    if control := _CONTROL.search(text):
        raise Refused(
            "control_character",
            f"a control character stands on line {text.count(chr(10), 0, control.start()) + 1}",
            "remove it",
        )
    return text


def _read_bytes(path: Path) -> bytes:
    data = read_bytes(path, LARGEST_FILE, _check_regular)
    if len(data) > LARGEST_FILE:
        raise Refused("file_too_large", "the file is larger than 1 MiB", "split the targets over several files")
    return data


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Refused("not_a_file", "this is not a regular file", "remove it, or give it another ending")


# ----------------------------------------------------------------------------------------------------------- nodes


def _compose(text: str) -> yaml.Node:
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise Refused("yaml_syntax", f"an unfinished merge stands on line {line}", "settle the conflict with git")
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as e:
        raise _syntax(e, text) from None  # the cause quotes the file
    if node is None:
        raise Refused("empty_file", "the file is empty", "write `targets:` with an entry in it, or remove the file")
    return node


def _check_depth(text: str) -> None:
    """Bounds the nesting on the stream of events, because composing nodes is recursive (in C, without a guard)."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise _too_deep(event.start_mark.line + 1 if event.start_mark else 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_deep(line: int) -> Refused:
    return Refused("too_deep", f"more than {DEEPEST} levels are nested on line {line}", "a target file needs five")


def _syntax(error: yaml.YAMLError, text: str) -> Refused:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
    # what stands in the file may be a password
    what = _NAMED.sub(r"\1", what) or "it cannot be parsed"
    if mark is None:
        return Refused("yaml_syntax", f"this is not YAML: {what}", "correct the file")
    if "maximum nesting depth" in what:  # newer versions of libyaml count too, and read ahead of what they tell
        return _too_deep(mark.line + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        what, hint = "a tab is used for indentation", "indent with spaces"
    elif "undefined alias" in what:
        hint = "a value that begins with `*` needs quotes"
    elif "single document" in what:
        hint = "remove the line `---`, or make two files"
    else:
        hint = "correct the line, or the one above it; a value with `: `, ` #` or a sign in front needs quotes"
    return Refused("yaml_syntax", f"this is not YAML: {what} (line {mark.line + 1}, column {mark.column + 1})", hint)


@dataclass
class _Walk:
    """Reports what safe_load would let pass, and bounds what the document stands for once aliases are followed."""

    place: str
    report: Report
    _measured: dict[int, tuple[int, int]] = field(default_factory=dict)  # node -> values in it, levels below it
    _open: set[int] = field(default_factory=set)

    def visit(self, node: yaml.Node, path: tuple[str, ...]) -> tuple[int, int]:
        """How many values and levels the node stands for. Raises Refused where there are too many.

        An anchor stands before its aliases, so that each node is measured before it is met again; the recursion
        goes no deeper than the text is nested.
        """
        if id(node) in self._open:
            raise Refused("alias_loop", f"the alias on line {node.start_mark.line + 1} contains itself", "remove it")
        if id(node) not in self._measured:
            self._open.add(id(node))
            self._measured[id(node)] = self._measure(node, path)
            self._open.discard(id(node))
        return self._measured[id(node)]

    def _measure(self, node: yaml.Node, path: tuple[str, ...]) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
            return 1, 0
        _check_tag(node)
        total, deepest = 1, 0
        for child, where in self._children(node, path):
            size, depth = self.visit(child, where)
            total, deepest = total + size, max(deepest, depth + 1)
            if total > LARGEST_DOCUMENT:
                raise Refused(
                    "aliases_explode",
                    f"with its aliases followed the file has more than {LARGEST_DOCUMENT} values",
                    "write the values out, or use `defaults`",
                )
            if deepest > DEEPEST:
                raise _too_deep(node.start_mark.line + 1)
        return total, deepest

    def _children(self, node: yaml.Node, path: tuple[str, ...]) -> list[tuple[yaml.Node, tuple[str, ...]]]:
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node, path)
            return [(value, (*path, str(key.value))) for key, value in node.value]
        return [(item, path) for item in node.value]

    def _check_keys(self, node: yaml.MappingNode, path: tuple[str, ...]) -> None:
        lines: dict[str, list[int]] = {}
        texts: dict[str, bool] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise Refused("bad_key", f"the key on line {line} is a list or a mapping", "a key is a text")
            if not key.value.isprintable():
                raise Refused("control_character", f"a control character stands in the key on line {line}", "remove it")
            lines.setdefault(key.value, []).append(line)
            texts[key.value] = key.tag in (_STRING, _MERGE)
        for name, where in lines.items():
            self._check_key(clip(name), where, texts[name], path)

    def _check_key(self, name: str, lines: list[int], is_text: bool, path: tuple[str, ...]) -> None:
        where = f"{self.place}: {'.'.join((*path, name))}"
        if not is_text:
            self.report.add(
                "bad_key",
                f"the key `{name}` on line {lines[0]} is not a text: YAML reads it as something else",
                f'put it in quotes: `"{name}":`',
                where,
            )
        if len(lines) > 1:
            self.report.add(
                "duplicate_key",
                f"`{name}` stands more than once, on lines {lines[0]} and {lines[1]}",
                "keep one: YAML would silently take the last",
                where,
            )


def _check_tag(node: yaml.Node) -> None:
    if not node.tag.startswith(_STANDARD) or node.tag.startswith(f"{_STANDARD}python"):
        raise Refused(
            "yaml_tag",
            f"a tag (`!...`) stands on line {node.start_mark.line + 1}",
            "remove it; a value that begins with `!` needs quotes",
        )


def _check_scalar(node: yaml.ScalarNode) -> None:
    """Builds the one value, because only here the line of a value that cannot be (`2024-13-45`) is known."""
    _check_tag(node)
    line = node.start_mark.line + 1
    try:
        value = node.value if node.tag == _STRING else _construct_short(node)
    except Refused:
        raise Refused(
            "bad_scalar", f"the value on line {line} cannot be read as what it looks like", "put it in quotes"
        ) from None
    if isinstance(value, str) and _CONTROL.search(value):
        raise Refused("control_character", f"a control character stands on line {line}", "remove it")


def _construct_short(node: yaml.ScalarNode) -> Any:
    if len(node.value) > LONGEST_NUMBER:
        raise Refused("bad_scalar", "a number, date or other special value is too long", "put it in quotes")
    return _construct(node)


def _text_keys(value: Any) -> Any:
    """The value without the keys that are no texts; they were reported."""
    if isinstance(value, dict):
        return {key: _text_keys(item) for key, item in value.items() if isinstance(key, str)}
    return [_text_keys(item) for item in value] if isinstance(value, list) else value


def _construct(node: yaml.Node) -> Any:
    try:
        return SafeConstructor().construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as e:
        # no text of `e`: it quotes the file
        raise Refused(
            "yaml_value", f"a value cannot be built ({type(e).__name__})", "correct the merge (`<<`) or tag in it"
        ) from None

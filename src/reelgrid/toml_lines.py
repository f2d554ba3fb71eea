"""Where each key of a TOML text is: its line, for messages that people can act on.

`tomllib` keeps no positions, and the readers that do (tomlkit keeps layout, not line numbers) are
no better a base than this: the text has passed `tomllib` before it comes here, so it is known to be
valid, and finding its keys again takes a scanner of tokens and no checks. Not here: values.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys from the root of the document, with a number for each place in an array."""

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<blank>[ \t\r]+)
    |(?P<newline>\n)
    |(?P<string>\"{3}(?:\\.|\"{1,2}(?!\")|[^\"\\])*\"{3,5}
               |'{3}(?:'{1,2}(?!')|[^'])*'{3,5}
               |\"(?:\\.|[^\"\\\n])*\"
               |'[^'\n]*')
    |(?P<sign>[\[\]{}=,.])
    |(?P<bare>[^\s\[\]{}=,.\"'\#]+)""",
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key, table and array element of a valid TOML text.

    An array of tables has the line of its first header, and each element that of its own.
    """
    return _Scan(text).lines


class _Scan:
    """One walk over the tokens."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {(): 1}
        self._tokens = list(_tokens(text))
        self._position = 0
        self._num_tables: dict[KeyPath, int] = {}
        table: KeyPath = ()
        while self._skip_newlines():
            table = self._header() if self._sign == "[" else self._assignment(table)

    @property
    def _sign(self) -> str:
        return self._tokens[self._position][1]

    @property
    def _line(self) -> int:
        return self._tokens[self._position][2]

    def _skip_newlines(self) -> bool:
        while self._position < len(self._tokens) and self._sign == "\n":
            self._position += 1
        return self._position < len(self._tokens)

    def _header(self) -> KeyPath:
        line = self._line
        self._position += 1
        is_array = self._sign == "["
        self._position += is_array
        keys = self._keys()
        self._position += 2 if is_array else 1
        table: KeyPath = ()
        for key in keys[:-1]:
            table = self._latest((*table, key))
            self.lines.setdefault(table, line)
        table = (*table, keys[-1])
        self.lines.setdefault(table, line)
        if is_array:
            self._num_tables[table] = self._num_tables.get(table, 0) + 1
            table = self._latest(table)
            self.lines[table] = line
        return table

    def _latest(self, path: KeyPath) -> KeyPath:
        """Return the last element of an array of tables, any other path as it is."""
        count = self._num_tables.get(path)
        return path if count is None else (*path, count - 1)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._sign == ".":
            self._position += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        kind, text, _ = self._tokens[self._position]
        self._position += 1
        return str(tomllib.loads(f"key = {text}")["key"]) if kind == "string" else text

    def _assignment(self, table: KeyPath) -> KeyPath:
        line = self._line
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._position += 1
        self._value(path)
        return table

    def _value(self, path: KeyPath) -> None:
        if self._sign == "[":
            self._array(path)
        elif self._sign == "{":
            self._inline_table(path)
        else:
            while self._position < len(self._tokens) and self._sign not in {"\n", ",", "]", "}"}:
                self._position += 1

    def _array(self, path: KeyPath) -> None:
        self._position += 1
        index = 0
        while self._skip_newlines() and self._sign != "]":
            self.lines[*path, index] = self._line
            self._value((*path, index))
            self._skip_newlines()
            self._position += self._sign == ","
            index += 1
        self._position += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._position += 1
        while self._skip_newlines() and self._sign != "}":
            self._assignment(path)
            self._skip_newlines()
            self._position += self._sign == ","
        self._position += 1


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield kind, text and line of each token that matters."""
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind not in {"comment", "blank"}:
            yield kind, match[0], line
        line += match[0].count("\n")

"""Texts that make a regular expression backtrack: its matches, with repeated parts.

Most slow expressions are slow on a text that almost matches in many places. Single letters do
not reveal these, so the texts are generated from the expression itself.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from re import _constants as codes  # type: ignore[attr-defined] # private, but the only parser
from re import _parser as parser  # type: ignore[attr-defined] # idem
from typing import Any

# Candidates for negated character classes.
LETTERS = "aA0-_. /\\<>()[]{}%#\"'*,;:=+@|~!\t\n\r\0é\x01"
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    codes.CATEGORY_DIGIT: str.isdigit,
    codes.CATEGORY_NOT_DIGIT: lambda letter: not letter.isdigit(),
    codes.CATEGORY_SPACE: str.isspace,
    codes.CATEGORY_NOT_SPACE: lambda letter: not letter.isspace(),
    codes.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
    codes.CATEGORY_NOT_WORD: lambda letter: not (letter.isalnum() or letter == "_"),
}
_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)


def samples(pattern: re.Pattern[Any], number: int, chance: random.Random) -> list[str]:
    """Return texts that the pattern matches, or would match without negative lookaheads."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    return sorted({_sample(tree, chance, {}) for _ in range(number)})


def pumps(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return prefixes of each text with the parts to repeat after them."""
    found = {("", letter) for letter in LETTERS}
    for text in texts:
        for i in range(len(text)):
            found.add(("", text[: i + 1]))
            found |= {(text[:i], text[i:end]) for end in range(i + 1, min(i + 4, len(text) + 1))}
            found |= {(text[:i], letter) for letter in "0 a%"}
    return sorted(found)


def pumped(head: str, unit: str, length: int) -> str:
    return head + unit * (length // len(unit)) + "\x01"


def _sample(nodes: Iterable[tuple[Any, Any]], chance: random.Random, groups: dict[int, str]) -> str:
    return "".join(_of_node(code, value, chance, groups) for code, value in nodes)


def _of_node(code: Any, value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    if code is codes.SUBPATTERN:
        groups[value[0] or 0] = text = _sample(value[3], chance, groups)
        return text
    if code in _REPEATS:
        least, most, nodes = value
        times = chance.randint(least, max(least, min(int(most), least + 2)))
        return "".join(_sample(nodes, chance, groups) for _ in range(times))
    if code is codes.BRANCH:
        return _sample(chance.choice(value[1]), chance, groups)
    if code is codes.ATOMIC_GROUP:
        return _sample(value, chance, groups)
    # Half of the samples include the text of a lookahead.
    if code is codes.ASSERT and value[0] > 0 and chance.random() < 0.5:
        return _sample(value[1], chance, groups)
    return groups.get(value, "") if code is codes.GROUPREF else _letter(code, value, chance)


def _letter(code: Any, value: Any, chance: random.Random) -> str:
    if code is codes.LITERAL:
        return chr(value)
    if code is codes.IN:
        return chance.choice([*_of_class(value)])
    if code in {codes.ANY, codes.NOT_LITERAL}:
        return chance.choice([letter for letter in LETTERS if ord(letter) != value])
    assert code in {codes.ASSERT, codes.ASSERT_NOT, codes.AT}, code
    return ""


def _of_class(items: list[tuple[Any, Any]]) -> Iterator[str]:
    is_negated = items[0][0] is codes.NEGATE
    listed = {chr(value) for code, value in items if code is codes.LITERAL}
    listed |= {chr(end) for code, value in items if code is codes.RANGE for end in value}
    for letter in sorted({*LETTERS, *listed}):
        if any(_contains(code, value, letter) for code, value in items) is not is_negated:
            yield letter


def _contains(code: Any, value: Any, letter: str) -> bool:
    if code is codes.LITERAL:
        return bool(ord(letter) == value)
    if code is codes.RANGE:
        return bool(value[0] <= ord(letter) <= value[1])
    return bool(code is codes.CATEGORY and _CATEGORIES[value](letter))

"""From the text of a selector to its syntax tree.

The lexis of the language is simple enough to take one operand (a whole comparison, a function,
a parenthesis or a negation) with one regular expression. Repeated characters are matched
possessively, so that no text takes more than linear time; repeated groups are not, because
possessive groups match wrongly in Python 3.11.2. Parentheses are kept on an explicit stack, so
that no text exhausts Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from calico_openstack.datamodel.selector.nodes import (
    All,
    And,
    Contains,
    EndsWith,
    Equal,
    Global,
    Has,
    In,
    Node,
    Not,
    NotEqual,
    NotIn,
    Or,
    StartsWith,
    negation,
    value_set,
)

MAX_LABEL_LENGTH: Final = 512
"""Longest label name in bytes."""

MAX_DEPTH: Final = 256
"""Deepest syntax tree. A thousand characters, the most that a policy may have, stay below it."""

_LABEL: Final = r"[A-Za-z0-9_./-]++"
_STRING: Final = r"""(?:"[^"]*+"|'[^']*+')"""
_OPERAND: Final = re.compile(
    rf"""
    [ \t]*+ (?:
      has\( [ \t]*+ (?P<has> {_LABEL} ) [ \t]*+ \)
    | (?P<label> {_LABEL} ) [ \t]*+ (?:
        (?P<comparison> == | != | contains | starts[ \t]*+with | ends[ \t]*+with )
        [ \t]*+ (?P<string> {_STRING} )
      | (?P<membership> in | not[ \t]*+in )
        [ \t]*+ \{{ (?P<set> [ \t]*+ (?:
            {_STRING} [ \t]*+ (?: , [ \t]*+ {_STRING} [ \t]*+ )* (?: , [ \t]*+ )? )? ) \}}
      )
    | (?P<function> all | global ) \( [ \t]*+ \)
    | (?P<open> \( )
    | (?P<negation> ! ) (?! = )
    )""",
    re.VERBOSE,
)
_OPERATOR: Final = re.compile(r"[ \t]*+(?:(?P<and>&&)|(?P<or>\|\|)|(?P<close>\))|(?P<end>\Z))")
_BLANK: Final = re.compile(r"[ \t]*+")
_VALUE: Final = re.compile(r""""([^"]*+)"|'([^']*+)'""")

_COMPARISONS: Final[dict[str, Callable[[str, str], Node]]] = {
    "==": Equal,
    "!=": NotEqual,
    "contains": Contains,
    "startswith": StartsWith,
    "endswith": EndsWith,
}
_EXCERPT: Final = 20


class SelectorError(ValueError):
    """A text is not a selector; the message says where and why."""


class _Group:
    """Operands between two parentheses, gathered while reading, and the depth of their tree."""

    __slots__ = ("alternatives", "conjuncts", "depth", "inner_depth", "negated")

    def __init__(self, negated: bool) -> None:
        self.negated = negated
        self.conjuncts: list[Node] = []
        self.alternatives: list[Node] = []
        self.inner_depth = 0
        self.depth = 0

    def add(self, operand: Node, depth: int) -> None:
        """Add an operand of the current conjunction."""
        self.conjuncts.append(operand)
        self.inner_depth = max(self.inner_depth, depth)

    def end_conjunction(self) -> None:
        """Make the conjunction that was read an alternative, and begin the next one."""
        single = len(self.conjuncts) == 1
        self.alternatives.append(self.conjuncts[0] if single else And(tuple(self.conjuncts)))
        self.depth = max(self.depth, self.inner_depth + (0 if single else 1))
        self.conjuncts, self.inner_depth = [], 0

    def close(self) -> Node:
        """Return the tree of the whole group. Its depth is final then."""
        self.end_conjunction()
        single = len(self.alternatives) == 1
        node = self.alternatives[0] if single else Or(tuple(self.alternatives))
        self.depth += 0 if single else 1
        if self.negated:
            # A negation of a negation takes one away.
            self.depth += -1 if isinstance(node, Not) else 1
            node = negation(node)
        if self.depth > MAX_DEPTH:
            raise SelectorError("nested too deeply")
        return node


def parse_tree(text: str) -> Node:
    """Return the syntax tree of a selector; that of blank text is ``all()``.

    Raises SelectorError.
    """
    if _BLANK.fullmatch(text):
        return All()
    outer: list[_Group] = []
    group = _Group(negated=False)
    position = 0
    while True:
        group, position = _read_operand(text, position, group, outer)
        group, position, ended = _read_operators(text, position, group, outer)
        if ended:
            return group.close()


def _read_operand(
    text: str, position: int, group: _Group, outer: list[_Group]
) -> tuple[_Group, int]:
    """Read up to and with the next comparison or function; parentheses open groups."""
    negated = False
    while True:
        match = _OPERAND.match(text, position)
        if match is None:
            raise _error(text, position, "a label with an operator, a function, '(' or '!'")
        position = match.end()
        if match.lastgroup == "negation":
            negated = not negated
        elif match.lastgroup == "open":
            outer.append(group)
            group, negated = _Group(negated), False
        else:
            node = _leaf(match)
            group.add(negation(node) if negated else node, 2 if negated else 1)
            return group, position


def _read_operators(
    text: str, position: int, group: _Group, outer: list[_Group]
) -> tuple[_Group, int, bool]:
    """Read closing parentheses and the operator or the end that follows; tell if it ended."""
    while True:
        match = _OPERATOR.match(text, position)
        if match is None:
            raise _error(text, position, "'&&', '||', ')' or the end")
        position = match.end()
        if match.lastgroup == "and":
            return group, position, False
        if match.lastgroup == "or":
            group.end_conjunction()
            return group, position, False
        if match.lastgroup == "end":
            if outer:
                raise SelectorError(f"{len(outer)} '(' without ')'")
            return group, position, True
        if not outer:
            raise SelectorError(f"')' without '(' at character {position}")
        node, depth = group.close(), group.depth
        group = outer.pop()
        group.add(node, depth)


def _leaf(match: re.Match[str]) -> Node:
    """Return the node of a comparison or function."""
    found = match.lastgroup
    if found == "has":
        return Has(_label(match["has"]))
    if found == "string":
        operator = match["comparison"]
        if operator[0] in "se":
            operator = operator.replace(" ", "").replace("\t", "")
        return _COMPARISONS[operator](_label(match["label"]), match["string"][1:-1])
    if found == "set":
        values = value_set(a or b for a, b in _VALUE.findall(match["set"]))
        node = In if match["membership"] == "in" else NotIn
        return node(_label(match["label"]), values)
    return All() if match["function"] == "all" else Global()


def _label(name: str) -> str:
    if len(name) > MAX_LABEL_LENGTH:
        raise SelectorError(f"a label name has {len(name)} characters; {MAX_LABEL_LENGTH} may be")
    return name


def _error(text: str, position: int, expected: str) -> SelectorError:
    """Return an error that shows where reading stopped."""
    rest = text[position : position + _EXCERPT].lstrip(" \t")
    found = f"found {rest!a}" if rest else "the text ends"
    return SelectorError(f"expected {expected} at character {position + 1}; {found}")

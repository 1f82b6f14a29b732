"""A strict YAML reader for pipelines. It builds a bounded tree with positions from libyaml's events.

No input crashes or stalls it. The event parser keeps its stack on the heap. Only PyYAML's composer recurses
in C, and it is not used. The parser's cost grows with the square of the nesting in flow style and of the
number of directives. Nesting is therefore limited to DEPTH_LIMIT while events arrive, and directives are
refused before parsing.

Scalars keep their source text and follow the core schema of YAML 1.2, so `on` is text and `3.10` is not 3.1.
"""

import re
import unicodedata
from typing import Any, Literal, NamedTuple, cast

from yaml import events
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError

from shared.pipeline.errors import Path, Place, Problems, Spot, quotable

SIZE_LIMIT_BYTES = 256 * 1024
DEPTH_LIMIT = 32
NODE_LIMIT = 20_000
TEXT_LIMIT = 1024 * 1024
"""Limit for the characters of all scalars, with each alias counted in full.

An alias of a long script is only one node.
"""

Kind = Literal["text", "integer", "float", "boolean", "null"]

_CORE_SCHEMA = re.compile(
    r"""(?P<null>null|Null|NULL|~|)
      | (?P<boolean>true|True|TRUE|false|False|FALSE)
      | (?P<integer>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)
      | (?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
                 |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))
    """,
    re.VERBOSE,
)
_MAY_BE_NO_TEXT = frozenset("~nNtTfF+-.0123456789")
"""First characters of scalars that the core schema may read as something other than text."""
# YAML 1.2, production c-printable
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_ADVICE = (
    ("mapping values are not allowed", 'A value that holds ": " needs quotes.'),
    (
        "cannot start any token",
        "Indent with spaces, not tabs. A value that begins with @, ` or % needs quotes.",
    ),
    ("while scanning a tag", 'A value that begins with "!" needs quotes.'),
    ("while scanning an alias", 'A value that begins with "*" needs quotes.'),
    ("did not find expected alphabetic or numeric", 'A value that begins with "*" or "&" needs quotes.'),
    ("found unexpected end of stream", "A quote is never closed."),
    ("did not find expected ',' or", 'A "[" or "{" is never closed, or a comma is missing.'),
    ("did not find expected", "Check the indentation of this line and of the one before."),
)


class Scalar(NamedTuple):
    place: Place
    text: str
    """The text as written. For quoted and block scalars, their content."""
    kind: Kind
    size: int = 1
    height: int = 1

    @property
    def characters(self) -> int:
        return len(self.text)


class Sequence(NamedTuple):
    place: Place
    items: "tuple[Node, ...]"
    size: int
    """The number of nodes in it, with aliases counted in full."""
    height: int
    characters: int
    """The number of characters in its scalars, with aliases counted in full."""


class Mapping(NamedTuple):
    place: Place
    items: "tuple[tuple[Scalar, Node], ...]"
    size: int
    height: int
    characters: int


class Unreadable(NamedTuple):
    """A node whose problem is already recorded. Readers skip it."""

    place: Place
    size: int = 1
    height: int = 1
    characters: int = 0


Node = Scalar | Sequence | Mapping | Unreadable


def compose(source: str | bytes, problems: Problems) -> Node:
    """Return the tree of the single document in the source.

    Problems after which the rest is readable (a duplicate key, a tag) are added to `problems`. Raises
    PipelineInvalid if the rest cannot be read.
    """
    text = _decoded(source, problems)
    problems.text_characters = len(text)
    if directive := _DIRECTIVE.search(text):
        raise problems.stop(
            _place_at(text, directive.start()),
            "yaml_directive",
            'lines that begin with "%" (YAML directives) are not used here',
        )
    parser = CParser(text.encode())
    try:
        return _Builder(parser, problems).document()
    except YAMLError as error:
        raise _syntax_error(error, problems) from error
    finally:
        parser.dispose()


def _decoded(source: str | bytes, problems: Problems) -> str:
    if len(source) > SIZE_LIMIT_BYTES:
        raise _too_large(problems)
    if isinstance(source, bytes):
        try:
            text = source.decode()
        except UnicodeDecodeError as error:
            place = _place_at(source[: error.start].decode().removeprefix("\ufeff"), error.start)
            raise problems.stop(place, "bad_character", "this is not UTF-8") from error
    else:
        text = source
    text = text.removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(text):
        raise problems.stop(
            _place_at(text, found.start()),
            "bad_character",
            f"the character U+{ord(found[0]):04X} is not allowed in YAML",
        )
    if len(text.encode()) > SIZE_LIMIT_BYTES:
        raise _too_large(problems)
    return text


def _too_large(problems: Problems) -> Exception:
    message = f"a pipeline may have {SIZE_LIMIT_BYTES // 1024} KiB"
    return problems.stop(Place(1, 1), "too_large", message, "Keep long scripts in files of the repository.")


def _place_at(text: str, index: int) -> Place:
    lines = text[:index].splitlines() or [""]
    if text[:index].endswith(("\n", "\r")):
        lines.append("")
    return Place(len(lines), len(lines[-1]) + 1)


def _syntax_error(error: YAMLError, problems: Problems) -> Exception:
    if not isinstance(error, MarkedYAMLError):
        return problems.stop(Place(1, 1), "yaml_syntax", "this is not YAML")
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    message = ", ".join(part for part in (error.problem, error.context) if part)
    advice = next((advice for words, advice in _ADVICE if words in message), None)
    return problems.stop(place, "yaml_syntax", f"this is not YAML: {message}", advice)


def kind_of(text: str) -> Kind:
    """Return the kind of a plain scalar, by the core schema."""
    if text and text[0] not in _MAY_BE_NO_TEXT:
        return "text"
    found = _CORE_SCHEMA.fullmatch(text)
    return cast("Kind", found.lastgroup) if found else "text"


class _Builder:
    """Builds the tree of one document from events. It recurses once per level, and the depth is limited."""

    def __init__(self, parser: CParser, problems: Problems) -> None:
        self._parser = parser
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._characters = 0

    def document(self) -> Node:
        self._next()  # the stream's start
        if not isinstance(event := self._next(), events.DocumentStartEvent):
            raise self._problems.stop(Place(1, 1), "empty", "the pipeline is empty")
        root = self._node(self._next(), (), 1)
        if isinstance(root, Scalar) and not root.text:
            raise self._problems.stop(Place(1, 1), "empty", "the pipeline is empty")
        self._next()  # the document's end
        if not isinstance(event := self._next(), events.StreamEndEvent):
            hint = 'Remove this "---" and what follows.'
            raise self._problems.stop(
                _place(event), "several_documents", "a second document begins here; a pipeline is one", hint
            )
        return root

    def _next(self) -> Any:
        """Return the next event. Its type is Any, because the stubs do not know the attributes."""
        return self._parser.get_event()

    def _node(self, event: Any, path: Path, depth: int) -> Node:
        place = _place(event)
        if isinstance(event, events.AliasEvent):
            return self._alias(event, path, depth)
        is_scalar = isinstance(event, events.ScalarEvent)
        self._count(1, len(event.value) if is_scalar else 0, place)
        if depth > DEPTH_LIMIT:
            raise self._problems.stop(place, "too_deep", f"nested deeper than {DEPTH_LIMIT} levels")
        if event.tag is not None:
            hint = 'A value that begins with "!" needs quotes.'
            if path[-1:] == ("if",):
                hint = f'{hint} Write: if: "{quotable(event.tag)}"'
            self._problems.add(
                Spot(path, place), "yaml_tag", f"tags such as {quotable(event.tag)} are not used here", hint
            )
        node: Node
        if is_scalar:
            node = self._scalar(event, place, path)
        elif isinstance(event, events.SequenceStartEvent):
            node = self._sequence(place, path, depth)
        else:
            node = self._mapping(place, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, path: Path, depth: int) -> Node:
        place = _place(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            hint = 'A value that begins with "*" needs quotes.'
            self._problems.add(
                Spot(path, place),
                "unknown_alias",
                f'no anchor "&{quotable(event.anchor)}" stands before this alias',
                hint,
            )
            return Unreadable(place)
        self._count(node.size, node.characters, place)
        if depth + node.height - 1 > DEPTH_LIMIT:
            raise self._problems.stop(
                place, "too_deep", f"nested deeper than {DEPTH_LIMIT} levels with this alias"
            )
        return node

    def _scalar(self, event: Any, place: Place, path: Path) -> Node:
        if "\0" in event.value:
            self._problems.add(
                Spot(path, place),
                "bad_character",
                "the character U+0000 is not allowed, not even as an escape",
            )
            return Unreadable(place)
        if event.tag is not None and event.tag.startswith("!"):
            # The tag is already a problem. It is part of what was meant: `if: !failure()`.
            return Scalar(place, f"{event.tag} {event.value}".rstrip(), "text")
        return Scalar(place, event.value, kind_of(event.value) if event.implicit[0] else "text")

    def _sequence(self, place: Place, path: Path, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := self._next(), events.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return Sequence(
            place,
            tuple(items),
            1 + sum(item.size for item in items),
            1 + max((item.height for item in items), default=0),
            sum(item.characters for item in items),
        )

    def _mapping(self, place: Place, path: Path, depth: int) -> Mapping:
        items: dict[str, tuple[Scalar, Node]] = {}
        size, height, characters = 1, 0, 0
        while not isinstance(event := self._next(), events.MappingEndEvent):
            key = self._node(event, path, depth + 1)
            value = self._node(
                self._next(), (*path, key.text) if isinstance(key, Scalar) else path, depth + 1
            )
            size, height = size + key.size + value.size, max(height, key.height, value.height)
            characters += key.characters + value.characters
            if usable := self._usable_key(key, event, path, items):
                items[usable.text] = (usable, value)
        return Mapping(place, tuple(items.values()), size, 1 + height, characters)

    def _usable_key(
        self, key: Node, event: Any, path: Path, items: dict[str, tuple[Scalar, Node]]
    ) -> Scalar | None:
        space = key.text[:1] if isinstance(key, Scalar) else ""
        if space > "\x7f" and (space.isspace() or space in "\u200b\ufeff"):
            name = unicodedata.name(space, "not printable").lower()
            message = f"the character U+{ord(space):04X} ({name}) stands before this key"
            hint = "It looks like a space and is none. Indent with spaces."
            self._problems.add(Spot(path, _place(event)), "bad_character", message, hint)
            return None
        if isinstance(key, Scalar) and key.text not in items and key.text != "<<":
            return key
        spot = Spot((*path, key.text) if isinstance(key, Scalar) else path, _place(event))
        if isinstance(key, Mapping | Sequence):
            hint = "Something like ? [a] or {{ x }} stands where a key is expected."
            self._problems.add(spot, "bad_key", "a key must be plain text", hint)
        elif isinstance(key, Scalar) and key.text == "<<":
            self._problems.add(
                spot,
                "merge_key",
                "merge keys (<<) are not used here",
                'Repeat the keys, or put them under "defaults".',
            )
        elif isinstance(key, Scalar):
            first = items[key.text][0].place
            self._problems.add(
                spot, "duplicate_key", f"this key stands here twice; the first is in line {first.line}"
            )
        return None

    def _count(self, nodes: int, characters: int, place: Place) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > NODE_LIMIT:
            raise self._problems.stop(
                place, "too_many_nodes", f"more than {NODE_LIMIT} values, aliases followed"
            )
        if self._characters > TEXT_LIMIT:
            raise self._problems.stop(
                place, "too_large", f"more than {TEXT_LIMIT // 1024} KiB of text, aliases followed"
            )


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)

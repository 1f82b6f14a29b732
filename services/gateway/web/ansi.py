r"""Splits a line of a log into pieces of text with classes for colours. Pure.

Only colours and weights of SGR sequences (`ESC [ … m`) are kept. All other escape sequences are dropped, so a
log cannot move a cursor, set a title or make a link. Text before a carriage return is dropped if more text
follows, as on a terminal. Each line begins without colours.
"""

import re

LONGEST = 4000
"""Characters of a line that are shown. The download has the whole line."""

Piece = tuple[str, str]
"""Classes of the stylesheet, separated by spaces, and the text."""

_ESCAPE = re.compile(
    r"\x1b\[([0-9;:]*)m"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WEIGHTS = {1: "ab", 2: "ad", 3: "ai", 4: "au"}
_ENDS = {22: ("ab", "ad"), 23: ("ai",), 24: ("au",)}


def pieces(line: str) -> list[Piece]:
    """Return the pieces of a line, without control characters and longer lines cut."""
    line = line.rstrip("\r")
    line = line[line.rfind("\r") + 1 :]
    cut = len(line) > LONGEST
    line = line[:LONGEST]
    found: list[Piece] = []
    style = _Style()
    end = 0
    for escape in _ESCAPE.finditer(line):
        _add(found, style.classes, line[end : escape.start()])
        end = escape.end()
        if escape[1] is not None:
            style.apply(escape[1])
    _add(found, style.classes, line[end:])
    if cut:
        found.append(("ad", " … the line goes on in the download"))
    return found


def _add(found: list[Piece], classes: str, text: str) -> None:
    text = _CONTROL.sub("\ufffd", text)
    if text:
        found.append((classes, text))


class _Style:
    """The colours and weights in force."""

    def __init__(self) -> None:
        self._weights: set[str] = set()
        self._colour = ""
        self._ground = ""

    @property
    def classes(self) -> str:
        return " ".join(filter(None, (self._colour, self._ground, *sorted(self._weights))))

    def apply(self, parameters: str) -> None:
        codes = [int(code[:3]) if code else 0 for code in parameters.replace(":", ";").split(";")]
        while codes:
            code = codes.pop(0)
            if code in {38, 48}:
                colour = _extended(codes)
                if code == 38:
                    self._colour = colour
                else:
                    self._ground = "g"
            else:
                self._plain(code)

    def _plain(self, code: int) -> None:
        if code == 0:
            self._weights, self._colour, self._ground = set(), "", ""
        elif code in _WEIGHTS:
            self._weights.add(_WEIGHTS[code])
        elif code in _ENDS:
            self._weights.difference_update(_ENDS[code])
        elif 30 <= code <= 37 or 90 <= code <= 97:
            self._colour = f"c{code % 10}"
        elif code == 39:
            self._colour = ""
        elif 40 <= code <= 47 or 100 <= code <= 107:
            self._ground = "g"
        elif code == 49:
            self._ground = ""


def _extended(codes: list[int]) -> str:
    """Take the rest of an extended colour, and return the class of the nearest of the eight colours."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        number = codes.pop(0)
        if number < 16:
            return f"c{number % 8}"
        if number >= 232:
            return "c7" if number > 243 else "c0"
        number -= 16
        return _nearest(number // 36 / 5, number // 6 % 6 / 5, number % 6 / 5)
    if kind == 2 and len(codes) >= 3:
        red, green, blue = codes.pop(0), codes.pop(0), codes.pop(0)
        return _nearest(red / 255, green / 255, blue / 255)
    return ""


def _nearest(red: float, green: float, blue: float) -> str:
    strongest = max(red, green, blue)
    if strongest < 0.2:
        return "c0"
    bits = [part > 0.6 * strongest for part in (red, green, blue)]
    return f"c{bits[0] + 2 * bits[1] + 4 * bits[2]}"

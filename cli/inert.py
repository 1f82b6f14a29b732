r"""Other people's text, made harmless for a terminal. Pure.

Logs, branch names and commit messages are written by whoever can push. Of their control characters only a log's colours (SGR, `ESC [ … m`) are kept;
all other sequences, C0, C1 and DEL are cut out, and so can't move the cursor, set the title, write the clipboard or hide what follows.
"""

import re

_SGR = r"\x1b\[[0-9;:]{0,64}m"
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n\x90\x98\x9d-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC up to their end
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
_ESCAPE = r"\x1b[ -/]*[0-Z\\^-~]"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
_HOSTILE = re.compile(f"(?P<colour>{_SGR})|{_STRING}|{_CSI}|{_ESCAPE}|{_CONTROL}")
_LINE_ENDS = re.compile(r"[\t\n\u2028\u2029]+")
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RESET = "\x1b[0m"


def log_line(text: str, *, coloured: bool) -> str:
    """A line of a log: its colours kept where wanted, and ended at the end of the line. A carriage return within it becomes a space."""
    shown = _HOSTILE.sub(lambda found: found["colour"] or "" if coloured else "", text.rstrip("\r\n").replace("\r", " ").replace("\n", " "))
    return shown + _RESET if "\x1b" in shown else shown


def one_line(text: str) -> str:
    """A name, title or message in a table: one line, no colours, no marks that turn the direction of writing."""
    return _DIRECTION.sub("", _LINE_ENDS.sub(" ", _HOSTILE.sub("", text))).strip()


def in_columns(text: str) -> str:
    """A line of the same length: a tab becomes a space, every other unprintable character becomes `�`."""
    return "".join(sign if sign.isprintable() else " " if sign == "\t" else "�" for sign in text)

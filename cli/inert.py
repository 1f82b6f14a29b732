r"""Other people's text, made harmless for a terminal. Pure.

Logs, branch names and commit messages are written by whoever can push. Of their control characters only a
log's colours (SGR, `ESC [ … m`) are kept; all other sequences, C0, C1 and DEL are cut out, and so can't move
the cursor, set the title, write the clipboard or hide what follows. Characters that are not seen and change
how text is read (the direction of writing, line separators, zero-width spaces, tags) are shown as escapes:
`\u202e`. Joiners stay, because scripts and emoji need them.
"""

import re

_SGR = r"\x1b\[[0-9;:]{0,64}m"
# OSC, DCS, SOS, PM, APC up to their end
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n\x90\x98\x9d-\x9f]*(?:\x07|\x1b\\|\x9c)"
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
_ESCAPE = r"\x1b[ -/]*[0-Z\\^-~]"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
_HOSTILE = re.compile(f"(?P<colour>{_SGR})|{_STRING}|{_CSI}|{_ESCAPE}|{_CONTROL}")
_LINE_ENDS = re.compile(r"[\t\n]+")
_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_RESET = "\x1b[0m"


def log_line(text: str, *, coloured: bool) -> str:
    """A line of a log: its colours kept where wanted, and ended at the end of the line.

    A carriage return within it becomes a space.
    """
    shown = _HOSTILE.sub(
        lambda found: found["colour"] or "" if coloured else "",
        text.rstrip("\r\n").replace("\r", " ").replace("\n", " "),
    )
    shown = _HIDDEN.sub(_escape, shown)
    return shown + _RESET if "\x1b" in shown else shown


def one_line(text: str) -> str:
    """A name, title or message in a table: one line, no colours."""
    return _HIDDEN.sub(_escape, _LINE_ENDS.sub(" ", _HOSTILE.sub("", text))).strip()


def in_columns(text: str) -> str:
    """Part of a line of a file: a tab is shown as a space, every other unprintable character as an escape."""
    return "".join(sign if sign.isprintable() else " " if sign == "\t" else _escaped(sign) for sign in text)


def _escape(found: re.Match[str]) -> str:
    return _escaped(found[0])


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()

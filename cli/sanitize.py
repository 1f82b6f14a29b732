r"""Makes text from other people harmless for a terminal. Pure.

Everybody who can push controls logs, branch names and commit messages. The colours of a log (SGR sequences,
`ESC[…m`) are kept. All other control sequences, C0, C1 and DEL are removed, so they cannot move the cursor,
set the title, write to the clipboard or hide text. Invisible characters that change how text is read (writing
direction, line separators, zero-width spaces, tags) are shown as escapes such as `\u202e`. Joiners are kept,
because scripts and emoji need them.
"""

import re

_SGR = r"\x1b\[[0-9;:]{0,64}m"
# OSC, DCS, SOS, PM and APC, including their terminators
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
    """Return a line of a log. Its colours are kept if `coloured`, and reset at the end of the line.

    A carriage return within the line becomes a space.
    """
    shown = _HOSTILE.sub(
        lambda found: found["colour"] or "" if coloured else "",
        text.rstrip("\r\n").replace("\r", " ").replace("\n", " "),
    )
    shown = _HIDDEN.sub(_escape, shown)
    return shown + _RESET if "\x1b" in shown else shown


def one_line(text: str) -> str:
    """Return a name, title or message for a table: one line without colours."""
    return _HIDDEN.sub(_escape, _LINE_ENDS.sub(" ", _HOSTILE.sub("", text))).strip()


def in_columns(text: str) -> str:
    """Return part of a file's line: a tab becomes a space, other unprintable characters become escapes."""
    return "".join(sign if sign.isprintable() else " " if sign == "\t" else _escaped(sign) for sign in text)


def _escape(found: re.Match[str]) -> str:
    return _escaped(found[0])


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()

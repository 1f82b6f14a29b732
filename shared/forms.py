"""HTML forms in which forges may send a webhook: the field `payload` holds the JSON. Pure.

The gateway and the scheduler use this module, so that both read the same payload. Decoding a form of 75 MiB
takes a fraction of a second and a few copies of it in memory.
"""

import binascii
import re

CONTENT_TYPE = "application/x-www-form-urlencoded"
_FIELD = b"payload"
_MOST_FIELDS = 16
_OTHERS_BYTES = 1024
"""Space for the field's name and for other fields."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TO_QUOTED_PRINTABLE = bytes.maketrans(b"%+", b"= ")


class NoPayload(ValueError):
    """The form has no field `payload`, or more than one."""


def largest_form(payload_bytes: int) -> int:
    """Return the size limit of a form with a payload of this size. An escaped byte takes three bytes."""
    return 3 * payload_bytes + _OTHERS_BYTES


def payload(form: bytes) -> bytes:
    """Return the decoded payload of a form.

    Raises NoPayload, or another ValueError if the bytes are not a valid form.
    """
    if not form.isascii():
        raise ValueError("a form is ASCII")
    fields = form.split(b"&", _MOST_FIELDS)
    if len(fields) > _MOST_FIELDS:
        raise ValueError(f"a form has at most {_MOST_FIELDS} fields")
    named = [field.partition(b"=") for field in fields]
    values = [value for name, _, value in named if value and _decoded(name) == _FIELD]
    if len(values) != 1:
        raise NoPayload("a form has one payload")
    return _decoded(values[0])


def _decoded(text: bytes) -> bytes:
    """Decode percent-encoding as quoted-printable, which differs only in the escape character.

    That decoder does not create an object for each escape.
    """
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("a percent sign without two hexadecimal digits")
    return binascii.a2b_qp(text.replace(b"=", b"%3D").translate(_TO_QUOTED_PRINTABLE))

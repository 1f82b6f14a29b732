"""The form in which forges may send a webhook: its field `payload` holds the JSON. Pure.

The gateway and the scheduler read it with the same code, so that both see the same payload. A form of 75 MiB
is decoded in a fraction of a second, with a few copies of it in memory.
"""

import binascii
import re

CONTENT_TYPE = "application/x-www-form-urlencoded"
_FIELD = b"payload"
_MOST_FIELDS = 16
_OTHERS_BYTES = 1024
"""For the field's name, and for other fields."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TO_QUOTED_PRINTABLE = bytes.maketrans(b"%+", b"= ")


class NoPayload(ValueError):
    """The form has no field `payload`, or two of them."""


def largest_form(payload_bytes: int) -> int:
    """The size limit of a form whose payload may have so many bytes: an escaped byte takes three."""
    return 3 * payload_bytes + _OTHERS_BYTES


def payload(form: bytes) -> bytes:
    """Its one payload, decoded. Raises ValueError: NoPayload, or what is no form."""
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
    """Percent-encoding is quoted-printable with another sign; that decoder makes no object for each
    escape.
    """
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("a percent sign without two hexadecimal digits")
    return binascii.a2b_qp(text.replace(b"=", b"%3D").translate(_TO_QUOTED_PRINTABLE))

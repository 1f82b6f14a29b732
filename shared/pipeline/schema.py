"""The grammar as JSON Schema, for editors and the API's documentation.

Whatever loads, validates. A document with an unknown or missing key, a wrong type or too many items does
neither; what one value means for another (a cycle, an unknown job) only loading tells.
"""

from shared.pipeline.grammar import PIPELINE
from shared.pipeline.rules import JsonSchema


def json_schema() -> JsonSchema:
    """A fresh document of draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Towpath pipeline",
        **PIPELINE.schema(),
    }

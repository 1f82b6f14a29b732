"""The grammar as JSON Schema, for editors and for the API's documentation.

Every document that `load` accepts is valid against the schema. A document with an unknown or missing key, a
wrong type or too many items is refused by both. Rules between several values (a cycle, an unknown job) are
checked only by `load`.
"""

from shared.pipeline.grammar import PIPELINE
from shared.pipeline.rules import JsonSchema


def json_schema() -> JsonSchema:
    """Return a new document of JSON Schema draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Towpath pipeline",
        **PIPELINE.schema(),
    }

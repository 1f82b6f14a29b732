"""The expressions of pipelines, `${{ … }}`: parser, evaluator, templates, phases, and a compiler to `sh`.

Pure: values in, values out. It is GitHub's expression language with its rules of comparison, and differs in:

- Names of contexts and their keys have case. Functions have none, as on GitHub.
- Only the letters a to z are compared without case.
- A text counts as a number only with at most 15 significant digits (GitHub rounds longer ones, so that
  different numbers are equal), at most 64 characters, and with ASCII spaces around it.
- A number keeps its source text: `3.10` is shown as 3.10, not as 3.1. Otherwise it is shown in its shortest
  form; GitHub rounds to 15 digits.
- A list or a mapping has no text. `${{ matrix }}` is an error that says `toJSON`; GitHub writes "Object".
- Filters (`needs.*.result`), `fromJSON`, `hashFiles` and keys of anything but a name are not supported.
- An `if` with text around its `${{ … }}` is an error; on GitHub it is always true.
- A wrong name is an error when the pipeline is saved. What is missing at run time is null, as on GitHub.
- Limits: 8,192 characters, 32 levels, 500 values and operators; texts that are made have 65,536 characters.
"""

from shared.expressions.errors import ExpressionError, ExpressionLimit
from shared.expressions.evaluator import Functions, evaluate, render
from shared.expressions.functions import BUILTINS, STATUS_FUNCTIONS
from shared.expressions.nodes import (
    Call,
    Comparison,
    Expression,
    Literal,
    Logical,
    Name,
    Node,
    Not,
    Reference,
    Template,
    calls,
    depends_on,
    expression_size,
    names,
    template_text,
    to_text,
)
from shared.expressions.parser import REDUCED, SAVED, Limits, parse, parse_condition, parse_template
from shared.expressions.phases import (
    FIRST_PHASE,
    ExpressionProblem,
    Known,
    Phase,
    Rules,
    check,
    contexts_of,
    problems,
)
from shared.expressions.reasons import because, explain, explain_node, with_status
from shared.expressions.reduction import reduce, reduce_template
from shared.expressions.values import Number, Value, scalar_text, truthy

__all__ = [
    "BUILTINS",
    "FIRST_PHASE",
    "REDUCED",
    "SAVED",
    "STATUS_FUNCTIONS",
    "Call",
    "Comparison",
    "Expression",
    "ExpressionError",
    "ExpressionLimit",
    "ExpressionProblem",
    "Functions",
    "Known",
    "Limits",
    "Literal",
    "Logical",
    "Name",
    "Node",
    "Not",
    "Number",
    "Phase",
    "Reference",
    "Rules",
    "Template",
    "Value",
    "because",
    "calls",
    "check",
    "contexts_of",
    "depends_on",
    "evaluate",
    "explain",
    "explain_node",
    "expression_size",
    "names",
    "parse",
    "parse_condition",
    "parse_template",
    "problems",
    "reduce",
    "reduce_template",
    "render",
    "scalar_text",
    "template_text",
    "to_text",
    "truthy",
    "with_status",
]

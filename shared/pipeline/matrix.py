"""Matrices: the combinations of their values, and the keys of the jobs that run for them. Pure.

The combinations are those of GitHub (docs.github.com, "Running variations of jobs in a workflow"):

1. The product of all axes, the last axis changing fastest.
2. Without those that have all values of an entry of `exclude`.
3. Each entry of `include` adds its values to all combinations in which it would change no value of an axis.
   An entry that fits no combination becomes a combination of its own.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import product
from math import prod

from shared.pipeline.errors import printable
from shared.pipeline.model import Combination, Matrix, MatrixValue

LONGEST_KEY = 100
"""Characters of a job's key. The end of a longer one is replaced by a hash of all its values."""
_HASH_DIGITS = 8


def combinations(matrix: Matrix) -> list[Combination]:
    """Return the combinations in order. The list is empty if everything is excluded."""
    plain = [
        combination
        for combination in _product(matrix)
        if not any(_has_all(combination, excluded) for excluded in matrix.exclude)
    ]
    found = [dict(combination) for combination in plain]
    alone: list[Combination] = []
    for entry in matrix.include:
        fitting = [index for index, combination in enumerate(plain) if _fits(combination, entry)]
        for index in fitting:
            found[index].update(entry)
        if not fitting:
            alone.append(dict(entry))
    return found + alone


def most(matrix: Matrix) -> int:
    """Return an upper limit for the number of combinations, without making them."""
    axes = prod(len(values) for values in matrix.axes.values()) if matrix.axes else 0
    return axes + len(matrix.include)


def key_of(job_id: str, combination: Combination) -> str:
    """Return the key of a job, such as `test (3.12, slow)`."""
    values = joined(combination)
    key = f"{job_id} ({printable(values, len(values) * 10)})"
    if len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(values.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{key[: LONGEST_KEY - _HASH_DIGITS - 2]}… {digest}"


def joined(combination: Combination) -> str:
    """Return the values as text. Expressions name the outputs of one job of a matrix by it."""
    return ", ".join(value.text for value in combination.values())


def repeated(texts: Iterable[str]) -> str | None:
    """Return the first text that occurs a second time, or None."""
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None


def _product(matrix: Matrix) -> list[Combination]:
    if not matrix.axes:
        return []
    return [dict(zip(matrix.axes, values, strict=True)) for values in product(*matrix.axes.values())]


def _has_all(combination: Combination, excluded: Combination) -> bool:
    return all(name in combination and _same(combination[name], value) for name, value in excluded.items())


def _fits(combination: Combination, entry: Combination) -> bool:
    return all(_same(combination[name], value) for name, value in entry.items() if name in combination)


def _same(one: MatrixValue, other: MatrixValue) -> bool:
    return one.text == other.text


def names(matrix: Matrix) -> Sequence[str]:
    """Return the names that expressions may use after `matrix.`, in the document's order."""
    return list(dict.fromkeys([*matrix.axes, *(name for entry in matrix.include for name in entry)]))

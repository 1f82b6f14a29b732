"""The secrets in a step driver: shell variables that only the steps export. Pure.

On the local cluster the driver itself has the values: it is passed through memory, as a descriptor that no
step inherits. In a container each value comes as a variable `TOWPATH_SECRET_<number>` of the driver, which
the driver moves to a shell variable before any step runs. So the environment of a step has only its own
secrets. This does not keep them from the job's other steps: all run as the driver's user and can read its
process.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.pipeline.claiming import SecretVariables


@dataclass(frozen=True, slots=True)
class DriverSecrets:
    """The secrets of a job's steps. Each has a number."""

    variables: SecretVariables = field(repr=False)
    in_environment: bool = False
    """True if the values come as variables of the driver."""

    def passed(self) -> list[tuple[str, str]]:
        """Return the variables of the driver, with their values."""
        return [(f"TOWPATH_SECRET_{number}", value) for number, _, _, value in self._numbered()]

    def definitions(self) -> str:
        """Return the commands that set the shell variables."""
        lines = []
        for number, _, _, value in self._numbered():
            if self.in_environment:
                source = f"TOWPATH_SECRET_{number}"
                lines.append(f"towpath_secret_{number}=${source}\nunset {source}")
            else:
                lines.append(f"towpath_secret_{number}={shlex.quote(value)}")
        return "\n".join(lines)

    def exports(self, step: int | None = None) -> str:
        """Return the commands that export the variables of all steps, or of one step: its index from 0."""
        return "".join(
            f'export {shlex.quote(f"{name}=")}"$towpath_secret_{number}"\n'
            for number, level, name, _ in self._numbered()
            if level == step
        )

    def _numbered(self) -> Iterator[tuple[int, int | None, str, str]]:
        """Yield number, index of the step (None: all steps), name and value of each variable."""
        levels = [(None, self.variables.job), *self.variables.steps.items()]
        number = 0
        for level, variables in levels:
            for name, value in variables.items():
                number += 1
                yield number, level, name, value


NO_SECRETS = DriverSecrets(SecretVariables())

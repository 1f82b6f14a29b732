"""`python -m tests.attack [--seconds N] [--quiet N] [X3 ...]`: measure a gateway under attack.

Phases alternate: quiet, an attack, quiet, the next attack, quiet. In every phase a second client sends signed
webhooks at a steady rate, and another tenant starts runs one after the other. The exit status is 1 if a
webhook is not accepted, if p99 or the start of a run is worse than promised, or if the gateway keeps more
memory than promised.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import machine
from bench.sending import BenchError
from bench.towpath_stack import running_towpath
from devstack.errors import DevstackError
from devstack.places import state_directory
from devstack.stack import CHECKOUT
from tests.attack.attackers import ATTACKS
from tests.attack.installation import Installation, prepare
from tests.attack.measuring import Tenants, attacking, gateway_bytes, tenants
from tests.attack.verdicts import (
    HEADING,
    MEMORY_RATIO,
    QUIET,
    Phase,
    Row,
    line,
    memory_failures,
    rows_of,
    table,
    verdict,
)  # fmt: skip

WHOLE_SECONDS = 360
_started_at = time.monotonic()


@dataclass(frozen=True)
class Wanted:
    """The arguments of the command."""

    attacks: tuple[str, ...]
    attack_seconds: float
    quiet_seconds: float


async def run(wanted: Wanted) -> int:
    """Run all phases and return the exit status."""
    directory = state_directory(CHECKOUT) / "attack"
    async with asyncio.timeout(WHOLE_SECONDS), running_towpath(directory, say) as running:
        say(f"preparing {', '.join(wanted.attacks)}")
        installation = await prepare(running)
        async with tenants(installation) as both:
            phases = await alternate(wanted, installation, both)
        peak_bytes = gateway_bytes(installation)[1]
    memory = memory_failures(phases[0].memory_bytes, phases[-1].memory_bytes)
    rows = rows_of(phases)
    facts = {
        "as_promised": not memory and not any(row.failures() for row in rows),
        "machine": machine.facts(),
        "seconds": round(time.monotonic() - _started_at),
        "rows": [row.as_json() for row in rows],
        "quiet": [phase.as_json() for phase in phases if phase.name == QUIET],
        "memory": {
            "before_bytes": phases[0].memory_bytes,
            "after_bytes": phases[-1].memory_bytes,
            "most_bytes": peak_bytes,
            "ratio_limit": MEMORY_RATIO,
            "failures": memory,
        },
    }
    print(f"\n{table(phases)}\n{verdict('memory', memory)}", flush=True)
    return told(facts)


async def alternate(wanted: Wanted, installation: Installation, both: Tenants) -> list[Phase]:
    say(HEADING)
    await both.measure(QUIET, min(3, wanted.quiet_seconds))  # warm up connections, caches and plans
    phases = [await both.measure(QUIET, wanted.quiet_seconds)]
    say(line(phases[-1]))
    for attack in wanted.attacks:
        orders = installation.orders(attack, wanted.attack_seconds)
        async with attacking(orders) as attackers:
            phases.append(await both.measure(attack, wanted.attack_seconds, attackers))
        say(line(phases[-1]))
        phases.append(await both.measure(QUIET, wanted.quiet_seconds))
        say(line(phases[-1]))
        say(verdict(attack, Row(*phases[-3:]).failures()))
    return phases


def told(facts: dict[str, Any]) -> int:
    """Write the facts to a file and return the exit status."""
    path = state_directory(CHECKOUT) / "attack.json"
    path.write_text(json.dumps(facts, indent=2) + "\n")
    print(f"written to {path}\n{'as promised' if facts['as_promised'] else 'NOT AS PROMISED'}", flush=True)
    return 0 if facts["as_promised"] else 1


def say(text: str) -> None:
    print(f"[{time.monotonic() - _started_at:4.0f} s] {text}", flush=True)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument(
        "attacks", nargs="*", metavar="X3", help=f"which of {', '.join(ATTACKS)}; all without one"
    )
    parser.add_argument("--seconds", type=float, default=15, help="how long each attack lasts")
    parser.add_argument("--quiet", type=float, default=8, help="how long each quiet phase lasts")
    given = parser.parse_args(arguments)
    attacks = tuple(name for words in given.attacks for name in words.upper().split(",")) or tuple(ATTACKS)
    if unknown := set(attacks) - ATTACKS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            return asyncio.run(run(Wanted(attacks, given.seconds, given.quiet)))
        except TimeoutError:
            print(f"the attacks were not done within {WHOLE_SECONDS} s", file=sys.stderr)
        except (BenchError, DevstackError) as error:
            print(f"the attacks could not be measured: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Tests of the step driver with real shells."""

import os
import shlex
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor.step_driver import STARTED_TWICE_CODE
from services.executor.step_facts import driver_began, job_timed_out, started_twice
from shared.pipeline.model import Step
from tests.unit.services.executor.driving import NONCE, SHELLS, run, run_alone

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{3,12}", fullmatch=True).map(lambda name: "X_" + name)


def test_steps_run_in_order_and_their_success_is_the_jobs(shell: list[str]) -> None:
    ran = run(Step(run="echo one"), Step(run="echo two >&2"), shell=shell)
    assert (ran.code, ran.output, ran.outcomes) == (0, "one\ntwo\n", ["success", "success"])


def test_the_log_says_where_steps_begin_and_end(shell: list[str]) -> None:
    ran = run(Step(name="greet", run="printf hi; exit 3"), shell=shell)
    assert ran.raw.decode().splitlines() == [
        f"::towpath-{NONCE}::begin 1 greet",
        f"hi::towpath-{NONCE}::end 1 3 f",
    ]


def test_a_failed_step_stops_all_but_those_that_ask_for_it(shell: list[str]) -> None:
    ran = run(
        Step(run="echo a; false; echo not reached"),
        Step(run="echo b"),
        Step(run="echo c", condition="failure"),
        Step(run="echo d; exit 9", condition="always"),
        shell=shell,
    )
    assert (ran.code, ran.output) == (1, "a\nc\nd\n")
    assert ran.outcomes == ["failed", "skipped", "success", "failed"]


def test_a_step_for_failures_is_skipped_when_there_is_none(shell: list[str]) -> None:
    assert run(Step(run=":"), Step(run="echo x", condition="failure"), shell=shell).outcomes == [
        "success",
        "skipped",
    ]


def test_an_allowed_failure_does_not_count(shell: list[str]) -> None:
    ran = run(Step(run="exit 5", allow_failure=True), Step(run="echo on"), shell=shell)
    assert (ran.code, ran.output, ran.outcomes) == (0, "on\n", ["failed", "success"])


def test_the_exit_code_is_that_of_the_first_failure(shell: list[str]) -> None:
    assert run(Step(run="exit 42"), Step(run="exit 7", condition="always"), shell=shell).code == 42


def test_variables_reach_later_steps(shell: list[str]) -> None:
    ran = run(
        Step(
            run="echo A=\"it's  1<<2 = x\" >> $TOWPATH_ENV\nprintf 'B<<END\\none\\n\\n two\\nEND\\nC=' >> "
            "$TOWPATH_ENV"
        ),
        Step(run='printf "%s|%s|%s|%s" "$A" "$B" "${C-unset}" "$D"', env={"D": "step"}),
        shell=shell,
    )
    assert ran.output == "it's  1<<2 = x|one\n\n two||step"


def test_a_steps_own_variables_win_and_end_with_it(shell: list[str]) -> None:
    ran = run(
        Step(run="echo $A; echo A=later >> $TOWPATH_ENV", env={"A": "own"}),
        Step(run="echo $A"),
        shell=shell,
        environment={"A": "job"},
    )
    assert ran.output == "own\nlater\n"


@pytest.mark.parametrize("line", ["no equals sign", "1A=x", "A-B=x", "TOWPATH_SHA=x", "A<<END\nnever closed"])
def test_a_malformed_variable_fails_the_step_that_wrote_it(shell: list[str], line: str) -> None:
    ran = run(
        Step(run='printf "%s\\n" "$LINE" >> $TOWPATH_ENV', env={"LINE": line}),
        Step(run="echo never"),
        shell=shell,
    )
    assert ran.code == 1
    assert "TOWPATH_ENV" in ran.output
    assert ran.outcomes == ["failed", "skipped"]


BAD_FILES = {
    "neither_form": "echo 'no equals sign' >> $TOWPATH_ENV",
    "never_closed": "printf 'A<<END\\nnever closed\\n' >> $TOWPATH_ENV",
    "reserved": "echo TOWPATH_SHA=x >> $TOWPATH_ENV",
    "not_a_name": "echo A-B=x >> $TOWPATH_ENV",
    "not_a_number": "echo PPID=x >> $TOWPATH_ENV; echo OPTIND=x >> $TOWPATH_ENV; echo UID=x >> $TOWPATH_ENV",
    "a_folder": "rm -f $TOWPATH_ENV; mkdir $TOWPATH_ENV",
    "a_named_pipe": "rm -f $TOWPATH_ENV; mkfifo $TOWPATH_ENV",
}


@pytest.mark.parametrize("code", [0, 5])
@pytest.mark.parametrize("bad", [bad for bad in BAD_FILES if bad != "not_a_number"])
def test_a08_a_malformed_variable_fails_only_the_step_that_wrote_it(
    shell: list[str], bad: str, code: int
) -> None:
    ran = run(
        Step(run="echo KEPT=yes >> $TOWPATH_ENV"),
        Step(run=f"echo LOST=no >> $TOWPATH_ENV; {BAD_FILES[bad]}; exit {code}"),
        Step(run="echo $KEPT ${LOST-unset}; echo MORE=yes >> $TOWPATH_ENV", condition="always"),
        Step(run="echo $MORE", condition="failure"),
        shell=shell,
    )
    assert (ran.code, ran.outcomes) == (code or 1, ["success", "failed", "success", "success"])
    told, rest = ran.output.split("\n", 1)
    assert told.startswith("towpath: TOWPATH_ENV: ")
    assert rest == "yes unset\nyes\n"


def test_a08_a_value_that_the_shell_refuses_fails_only_the_step_that_wrote_it(shell: list[str]) -> None:
    """`bash` refuses to set PPID and UID; `dash` does not start if OPTIND is not a number."""
    ran = run(Step(run=BAD_FILES["not_a_number"]), Step(run="echo on", condition="always"), shell=shell)
    assert (ran.code, ran.outcomes) == (1, ["failed", "success"])
    assert ran.output.startswith("towpath: TOWPATH_ENV: ")
    assert ran.output.endswith("\non\n")


def test_a08_a_step_that_replaces_the_file_keeps_the_variables_of_others(shell: list[str]) -> None:
    ran = run(
        Step(run="echo A=1 > $TOWPATH_ENV"),
        Step(run="echo B=2 > $TOWPATH_ENV"),
        Step(run="rm -f $TOWPATH_ENV; echo $A $B"),
        Step(run="echo A=3 >> $TOWPATH_ENV"),
        Step(run="echo $A $B"),
        shell=shell,
    )
    assert (ran.code, ran.output) == (0, "1 2\n3 2\n")


def test_a_step_over_its_limit_is_ended_and_says_so(shell: list[str]) -> None:
    ran = run(Step(run="echo begun; sleep 20", timeout_seconds=1), Step(run="echo no"), shell=shell)
    assert ran.output == "begun\n"
    assert ran.code == 124
    assert ran.outcomes == ["timed_out", "skipped"]


def test_an_exit_code_like_a_timeouts_is_a_failure(shell: list[str]) -> None:
    assert run(Step(run="exit 124", timeout_seconds=20), shell=shell).outcomes == ["failed"]


def test_bash_is_used_where_it_is_asked_for(shell: list[str]) -> None:
    step = Step.model_validate({"run": "a=(x y); echo ${a[1]}; false", "shell": "bash"})
    assert run(step, shell=shell).output == "y\n"


@pytest.mark.parametrize(
    ("inner", "outcomes"), [("bash", ["failed", "failed"]), ("sh", ["success", "failed"])], ids=["bash", "sh"]
)
def test_a17_bash_fails_with_any_command_of_a_pipeline(
    shell: list[str], inner: str, outcomes: list[str]
) -> None:
    scripts = ["false | cat; echo on", "false; echo on"]
    steps = [
        Step.model_validate({"run": script, "shell": inner, "allow_failure": True}) for script in scripts
    ]
    ran = run(*steps, shell=shell)
    assert (ran.outcomes, ran.output) == (outcomes, "on\n" * outcomes.count("success"))


def test_a16_a_step_runs_where_it_says_and_an_absent_folder_is_named(shell: list[str]) -> None:
    ran = run(
        Step(run="basename $PWD", working_directory="sub"),
        Step(run="basename $PWD"),
        Step(run=":", working_directory="-none"),
        shell=shell,
    )
    assert ran.output == "sub\nworkspace\ntowpath: working_directory: the workspace has no folder -none\n"
    assert ran.outcomes == ["success", "success", "failed"]


def test_a_step_hears_sigint(shell: list[str]) -> None:
    """Shells make their background processes ignore SIGINT."""
    assert run(Step(run="grep SigIgn /proc/self/status"), shell=shell).output.split()[-1][-1] in "0189"


def test_the_jobs_variables_can_not_disturb_the_driver(shell: list[str]) -> None:
    ran = run(
        Step(run="echo $IFS$towpath_state"),
        shell=shell,
        environment={"IFS": "0123456789.", "towpath_state": "/nowhere", "PS4": "$(exit 9)"},
    )
    assert (ran.code, ran.outcomes) == (0, ["success"])


@settings(max_examples=25, deadline=None)
@given(
    value=WORDS,
    name=WORDS,
    variables=st.dictionaries(NAMES, WORDS, max_size=3),
    shell=st.sampled_from(SHELLS),
)
def test_text_of_users_survives_and_is_never_code(
    value: str, name: str, variables: dict[str, str], shell: list[str]
) -> None:
    script = "printf '%s' \"$VALUE\" > out; cat out; printf '%s\\n' " + shlex.quote(
        value
    )  # no here-document, because dash loses bytes of some
    checks = [Step(run=f'printf "%s" "${key}"', env={key: text}) for key, text in variables.items()]
    ran = run(Step(name=name, run=script), *checks, shell=shell, environment={"VALUE": value})
    assert ran.code == 0
    assert ran.output == value + value + "\n" + "".join(variables.values())


# ---------------------------------------------------------------- output on its way when a step ends

SED = "sed -u 's/^/[ci] /'"
LAST_WORDS = "echo 'ERROR: the reason'; exit 3"
ON_ITS_WAY = {
    "a_slow_filter": ("bash", f"exec > >(sleep 0.2; cat) 2>&1; {LAST_WORDS}", "ERROR: the reason\n"),
    "tee": ("bash", f"exec > >(tee build.log) 2>&1; {LAST_WORDS}", "ERROR: the reason\n"),
    "sed": ("bash", f"exec > >({SED}); echo 'ERROR: the reason'; exit 3", "[ci] ERROR: the reason\n"),
    "two_filters": (
        "bash",
        f"exec > >(sleep 0.1; {SED} | (sleep 0.2; cat)); echo 'ERROR: the reason'; exit 3",
        "[ci] ERROR: the reason\n",
    ),
    "errors_alone": (
        "bash",
        f"exec 2> >(sleep 0.2; {SED} >&2); echo 'ERROR: the reason' >&2; exit 3",
        "[ci] ERROR: the reason\n",
    ),
    "a_named_pipe": (
        "sh",
        f"mkfifo p; (sleep 0.2; {SED}) < p & exec > p 2>&1; echo 'ERROR: the reason'; exit 3",
        "[ci] ERROR: the reason\n",
    ),
    "a_background_process": ("sh", f"(sleep 0.1; echo late) & {LAST_WORDS}", "ERROR: the reason\nlate\n"),
    "another_session": (
        "bash",
        "exec > >(setsid sh -c 'sleep 0.2; cat'); echo 'ERROR: the reason'; exit 3",
        "ERROR: the reason\n",
    ),
}
"""The shell, the script, and its whole output."""


@pytest.mark.parametrize("form", ON_ITS_WAY)
def test_a01_a_step_ends_after_its_output(shell: list[str], form: str) -> None:
    inner, script, output = ON_ITS_WAY[form]
    step = Step.model_validate({"run": script, "shell": inner})
    ran = run(step, Step(run="echo next", condition="always"), shell=shell)
    assert (ran.code, ran.output) == (3, output + "next\n")


@pytest.mark.alone("measures how long a job is held")
@pytest.mark.parametrize("script", ["sleep 300 &", "sleep 300 | cat &", "yes > /dev/null &"])
def test_a01_a_background_process_holds_a_job_for_a_moment_and_once(shell: list[str], script: str) -> None:
    began = time.monotonic()
    ran = run(Step(run=script), Step(run="echo next"), Step(run="echo last"), shell=shell)
    assert (ran.code, ran.output) == (0, "next\nlast\n")
    assert time.monotonic() - began < 5


def test_a01_a_step_that_closed_its_output_is_not_waited_for(shell: list[str]) -> None:
    assert run(Step(run="exec > /dev/null 2>&1; echo x; exit 3"), shell=shell).code == 3


# ---------------------------------------------------------------- signals of a step to its process group

SURVIVES = "trap : TERM INT HUP; sleep 100 & kill {signal} 0; echo survived"


@pytest.mark.parametrize("limit", [None, 20], ids=["unlimited", "limited"])
@pytest.mark.parametrize("signal", ["", "-TERM", "-INT", "-HUP"])
def test_a07_a_step_that_signals_its_group_ends_nothing_else(
    shell: list[str], signal: str, limit: int | None
) -> None:
    script = SURVIVES.format(signal=signal)
    ran = run(Step(run=script, timeout_seconds=limit), Step(run="echo next"), shell=shell)
    assert (ran.code, ran.output, ran.outcomes) == (0, "survived\nnext\n", ["success", "success"])


def test_a07_a_step_that_kills_its_group_fails_alone(shell: list[str], tmp_path: Path) -> None:
    ran = run_alone(tmp_path, Step(run="kill -9 0"), Step(run="echo next", condition="always"), shell=shell)
    assert (ran.code, ran.outcomes) == (137, ["failed", "success"])
    assert ran.output.endswith("next\n")  # bash also reports that the step was killed


def test_a07_a_step_that_signals_its_group_is_not_stopped(shell: list[str], tmp_path: Path) -> None:
    ran = run_alone(tmp_path, Step(run=SURVIVES.format(signal="")), Step(run="echo next"), shell=shell)
    assert (ran.code, ran.output, ran.outcomes) == (0, "survived\nnext\n", ["success", "success"])


def test_a07_a_step_over_its_limit_is_ended_with_its_processes(shell: list[str]) -> None:
    inner = "trap 'echo inner >> ended; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    steps = [
        Step(run=f"sh -c {shlex.quote(inner)} & wait", timeout_seconds=1),
        Step(run="until [ -e ended ]; do sleep 0.05; done; cat ended", condition="always"),
    ]
    ran = run(*steps, shell=shell)
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "success"])
    assert [line for line in ran.output.splitlines() if line != "Terminated"] == ["begun", "inner"]


def test_a07_a_step_that_ignores_the_end_of_its_time_is_killed(shell: list[str], tmp_path: Path) -> None:
    step = Step(run="trap '' TERM; sleep 60; echo no", timeout_seconds=1)
    ran = run_alone(tmp_path, step, Step(run="echo next", condition="always"), shell=shell)
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "success"])
    assert "no\n" not in ran.output


def test_a07_no_process_of_ours_is_left_or_seen_by_a_step(shell: list[str]) -> None:
    """A program that reaps all its children meets only its own processes."""
    limit = 100_000 + os.getpid()
    scripts = [
        "exec python3 -c 'import os; os.wait()' 2>&1 | tail -1",
        f"ps -o args= -e | grep -c '[s]leep {limit}' || :",
    ]
    ran = run(*[Step(run=script, timeout_seconds=limit) for script in scripts], shell=shell)
    assert ran.output == "ChildProcessError: [Errno 10] No child processes\n1\n"


def test_a07_an_image_without_setsid_keeps_limits_all_the_same(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("mkdir", "sleep", "timeout"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    whole = [str(shutil.which(shell[0])), *shell[1:]]
    steps = [Step(run="echo a"), Step(run="sleep 30", timeout_seconds=1)]
    ran = run_alone(tmp_path, *steps, shell=whole, image={"PATH": f"{tmp_path}/bin"})
    assert (ran.code, ran.outcomes) == (124, ["success", "timed_out"])


# ---------------------------------------------------------------- in a container that nobody prepares


def test_it_prepares_its_own_container(shell: list[str], tmp_path: Path) -> None:
    script = 'pwd; cd; pwd; echo "$VALUE"; case $PATH in "$IMAGE_PATH:$HOME/.local/bin") echo path;; esac'
    ran = run_alone(
        tmp_path,
        Step(run=script),
        shell=shell,
        image={"PATH": os.environ["PATH"], "IMAGE_PATH": os.environ["PATH"]},
    )
    assert (ran.code, ran.outcomes) == (0, ["success"])
    assert ran.output == f"{tmp_path}/workspace\n{tmp_path}/home\njob's\npath\n"


def test_f63_a_driver_that_is_started_again_runs_no_step(shell: list[str], tmp_path: Path) -> None:
    step = Step(run=f"echo x >> {tmp_path}/marks")
    assert run_alone(tmp_path, step, shell=shell).code == 0
    again = run_alone(tmp_path, step, shell=shell)
    assert (again.code, again.termination) == (STARTED_TWICE_CODE, "")
    assert started_twice(again.code, again.termination)
    assert (tmp_path / "marks").read_text() == "x\n"


def test_a_job_over_its_limit_begins_no_further_step(shell: list[str], tmp_path: Path) -> None:
    ran = run_alone(
        tmp_path,
        Step(run="echo begun; sleep 20", timeout_seconds=15),
        Step(run="echo no", condition="failure"),
        shell=shell,
        limit=1,
    )
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "skipped"])
    assert ran.output.removesuffix("Terminated\n") == "begun\n"  # busybox prints it
    assert job_timed_out(ran.code, ran.termination)


def test_the_jobs_limit_counts_all_steps_together(shell: list[str], tmp_path: Path) -> None:
    ran = run_alone(
        tmp_path,
        Step(run="sleep 1.2"),
        Step(run="sleep 20"),
        Step(run=":", condition="failure"),
        shell=shell,
        limit=2,
    )
    assert (ran.code, ran.outcomes) == (124, ["success", "timed_out", "skipped"])


def test_a_steps_own_limit_is_not_the_jobs(shell: list[str], tmp_path: Path) -> None:
    ran = run_alone(
        tmp_path,
        Step(run="sleep 20", timeout_seconds=1),
        Step(run="echo on", condition="failure"),
        shell=shell,
        limit=30,
    )
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "success"])
    assert not job_timed_out(ran.code, ran.termination)


def test_an_image_without_timeout_runs_its_steps_all_the_same(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("mkdir", "rm"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    whole = [str(shutil.which(shell[0])), *shell[1:]]
    ran = run_alone(
        tmp_path,
        Step(run="echo a"),
        Step(run="echo b", timeout_seconds=9),
        shell=whole,
        image={"PATH": f"{tmp_path}/bin"},
    )
    assert ran.code == 0
    assert ran.output in (
        "a\ntowpath: no timeout command here: only the limit of the whole job is kept\nb\n",
        "a\nb\n",
    )  # busybox has a built-in timeout


def test_what_a_step_leaves_in_the_notes_does_not_spoil_them(shell: list[str], tmp_path: Path) -> None:
    ran = run_alone(tmp_path, Step(run=f"printf garbage > {tmp_path}/termination; exit 3"), shell=shell)
    assert (ran.code, driver_began(ran.termination)) == (3, True)

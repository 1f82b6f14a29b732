"""Scripts as people write them, with their expected output and exit codes.

docs/scripts.md lists them and compares them with GitHub. All of them are steps of one job, in this order, so
that a test of all of them costs one job for each kind of cluster. A step that fails does not stop the others.
Each case has its own names of variables and files.
"""

from dataclasses import dataclass

from shared.pipeline.model import Step

DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open("daemon.pid", "w") as file:
            print(os.getpid(), file=file)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.execlp("sleep", "sleep", "600")
    os._exit(0)
os.wait()
"""
SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print("port", server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    client.sendall(b"pong\\n")
    client.close()
"""


@dataclass(frozen=True)
class Case:
    name: str
    steps: tuple[Step, ...]
    output: str
    """The output of all steps together."""
    codes: tuple[int, ...]


def case(name: str, *scripts: str, output: str = "", codes: tuple[int, ...] = (), by: str = "sh") -> Case:
    """Return a case with these scripts as steps, and their exit codes. By default, all exit with 0."""
    steps = tuple(Step(run=script, shell=by, allow_failure=True) for script in scripts)
    return Case(name, steps, output, codes or (0,) * len(scripts))


def bash(name: str, *scripts: str, output: str = "", codes: tuple[int, ...] = ()) -> Case:
    return case(name, *scripts, output=output, codes=codes, by="bash")


SHELL = (
    case(
        "heredoc",
        "W=world\ncat > a.conf <<EOF\nhello $W\nEOF\ncat >> a.conf <<'EOF'\nkept $W\nEOF\ncat a.conf",
        output="hello world\nkept $W\n",
    ),
    case("heredoc-unterminated", "exec 2> /dev/null\ncat <<EOF\nto the end", output="to the end\n"),
    case("set-x", "set -x; echo hi; false; echo no", output="+ echo hi\nhi\n+ false\n", codes=(1,)),
    case("trap-exit", "trap 'echo cleanup' EXIT; false; echo no", output="cleanup\n", codes=(1,)),
    case("last-command", '[ -n "" ] && echo x', "! true", "grep nothing /dev/null", codes=(1, 1, 1)),
    case("set-plus-e", "set +e; false; echo $?", output="1\n"),
    case("exec", "exec sh -c 'exit 7'", codes=(7,)),
    bash("return", "return 3 2> /dev/null; echo no", codes=(2,)),
    case("syntax-error", 'exec 2> /dev/null\necho on\necho "a', output="on\n", codes=(2,)),
    case("no-final-newline", "printf done", "echo next", output="donenext\n"),
    case(
        "carriage-return",
        "printf '10%%\\r100%%\\n'; printf '\\033[31mred\\033[0m\\n'",
        output="10%\r100%\n\033[31mred\033[0m\n",
    ),
    bash(
        "pipefail", "yes | head -1; echo no", "yes | head -1 || echo $?", output="y\ny\n141\n", codes=(141, 0)
    ),
    case("pipe-in-sh", "false | true; yes | head -1; echo on", output="y\non\n"),
    bash(
        "bash-syntax",
        '[[ $RANDOM =~ ^[0-9]+$ ]] && echo number; a=(1 2); echo "${#a[@]}"; cat <<< here; echo {a,b}',
        output="number\n2\nhere\na b\n",
    ),
    case(
        "default-shell",
        "test /proc/$$/exe -ef /bin/sh && echo sh; case $- in *e*) echo stops ;; esac",
        output="sh\nstops\n",
    ),
    bash(
        "process-substitution",
        "diff <(echo a) <(echo a) && echo same; while read -r l; do echo $l; done < <(echo b)",
        output="same\nb\n",
    ),
    bash(
        "globstar",
        "shopt -s globstar; mkdir -p glob/b; touch glob/1.md glob/b/2.md; echo glob/**/*.md",
        output="glob/1.md glob/b/2.md\n",
    ),
    bash("err-trap", "trap 'echo \"line $LINENO\"' ERR\nfalse", output="line 2\n", codes=(1,)),
)

ENDS = (
    case(
        "exit-codes",
        *("exit 130", "exit 137", "exit 143", "exit 255", "exit 256"),
        codes=(130, 137, 143, 255, 0),
    ),
    case(
        "own-signals",
        *(f"kill -{name} $$; sleep 60" for name in ("INT", "TERM", "KILL")),
        codes=(130, 143, 137),
    ),
    case(
        "timeout", "timeout 0.1 sleep 60", "timeout 0.1 sleep 60 || echo $?", output="124\n", codes=(124, 0)
    ),
    case(
        "ulimit",
        "ulimit -c 0; ulimit -n 256; ulimit -n; umask; : > mask; stat -c %a mask",
        output="256\n0022\n644\n",
    ),
)

PROCESSES = (
    case("wait", "(exit 3) & wait $!; echo no", "true & false & wait; echo on", output="on\n", codes=(3, 0)),
    case("kill-background", "sleep 600 & kill $!; wait $! 2> /dev/null || echo $?", output="143\n"),
    bash(
        "background-server",
        f": > server.log; (python3 -c '{SERVER}' | tee server.log) > /dev/null 2>&1 & disown",
        "until grep -q port server.log; do sleep 0.02; done",
        'exec 3<> /dev/tcp/127.0.0.1/"$(cut -d" " -f2 server.log)"; cat <&3',
        output="pong\n",
    ),
    case(
        "daemon",
        f"python3 -c '{DAEMON}'",
        "until [ -s daemon.pid ]; do sleep 0.02; done; kill $(cat daemon.pid) && echo was there",
        output="was there\n",
    ),
    case("sleep-left", "sleep infinity > /dev/null 2>&1 & echo on", "echo next", output="on\nnext\n"),
    case(
        "nohup",
        "nohup sh -c 'echo up' > nohup.log 2>&1 & wait; cat nohup.log; test -e nohup.out || echo none",
        output="up\nnone\n",
    ),
    case("fifo", "mkfifo pipe; echo x > pipe & cat pipe; wait", output="x\n"),
    case(
        "flock", "exec 9> lock; flock -n 9 && echo got; flock -n lock true || echo busy", output="got\nbusy\n"
    ),
    case("descriptors", "exec 3>&1 4> four; echo x >&3; echo y >&4; cat four", output="x\ny\n"),
    case("closed-output", "exec > /dev/null 2>&1; echo x; exit 4", codes=(4,)),
)

MACHINE = (
    case(
        "no-terminal",
        "test -t 0 || test -t 1 || test -t 2 || echo none; read x 2> /dev/null < /dev/tty || echo no tty",
        output="none\nno tty\n",
    ),
    case("standard-input", "cat; cat > /dev/null; echo on", "read x", output="on\n", codes=(0, 1)),
    case(
        "term",
        'echo "${TERM-unset}"; TERM=dumb tput cols; tput bold 2> /dev/null || echo plain',
        output="unset\n80\nplain\n",
    ),
    case(
        "locale",
        "locale charmap; python3 -c 'print(\"\\u00fc\")'; echo ${LC_ALL-unset}",
        output="UTF-8\nü\nunset\n",
    ),
    case(
        "buffering",
        'p="import sys; print(1); print(2, file=sys.stderr)"\n'
        'python3 -c "$p"; python3 -u -c "$p"; PYTHONUNBUFFERED=1 python3 -c "$p"',
        output="2\n1\n1\n2\n1\n2\n",
    ),
    case("time-zone", "TZ=JST-9 date -d @0 +%H:%M; echo ${TZ-unset}", output="09:00\nunset\n"),
    case(
        "localhost",
        "getent hosts localhost > /dev/null && hostname > /dev/null && echo named",
        output="named\n",
    ),
    case(
        "no-root",
        "sudo -n true 2> /dev/null || echo no; test $(id -u) != 0 && echo user",
        output="no\nuser\n",
    ),
    case(
        "continuous-integration",
        'echo "$CI ${GITHUB_ACTIONS-unset}"; exec 2> /dev/null; echo x >> "$GITHUB_ENV"',
        output="true unset\n",
        codes=(2,),
    ),
    case(
        "workflow-commands",
        "echo '::set-output name=a::b'; echo '::add-mask::x'",
        output="::set-output name=a::b\n::add-mask::x\n",
    ),
)

FILES = (
    case(
        "home",
        "git config --global user.name Me; mkdir -p ~/.cache/tool",
        'git config --global user.name; test -d ~/.cache/tool && test -w "$HOME" && echo kept',
        output="Me\nkept\n",
    ),
    case(
        "temporary-folder",
        'd=$(mktemp -d); echo x > "$d/f"; echo "TEMPORARY=$d" >> "$TOWPATH_ENV"',
        'cat "$TEMPORARY/f"; rm -r "$TEMPORARY"',
        output="x\n",
    ),
    case("unicode-names", 'mkdir "ü ñ"; : > "ü ñ/日本.txt"; ls "ü ñ"', output="日本.txt\n"),
    case(
        "read-only-files",
        "mkdir -p closed/x; : > closed/x/f; chmod -R a-w closed; rm -rf closed 2> /dev/null || echo kept",
        output="kept\n",
    ),
    case(
        "links",
        "ln -s . loop; ln -s nowhere lost; test -d loop/loop/loop && cat lost 2> /dev/null || echo dangles",
        output="dangles\n",
    ),
    case(
        "sparse-file", "truncate -s 10G sparse; stat -c '%s %b' sparse; rm sparse", output="10737418240 0\n"
    ),
    case(
        "executable", "printf '#!/bin/sh\\necho ran\\n' > run.sh; chmod +x run.sh; ./run.sh", output="ran\n"
    ),
)

BETWEEN_STEPS = (
    case(
        "new-shell",
        "mkdir sub; cd sub; export EXPORTED=1; f() { :; }; set +e",
        'basename "$PWD"; echo "${EXPORTED-unset}"; command -v f || echo no f; false; echo no',
        output="workspace\nunset\nno f\n",
        codes=(0, 1),
    ),
    case(
        "env-own-step",
        'echo OWN=1 >> "$TOWPATH_ENV"; echo "${OWN-unset}"',
        'echo "$OWN"',
        output="unset\n1\n",
    ),
    case(
        "env-several-lines",
        '{ echo "LINES_OF<<EOF"; echo "a=b"; echo; echo " c<<d"; echo EOF; } >> "$TOWPATH_ENV"',
        'echo "$LINES_OF"',
        output="a=b\n\n c<<d\n",
    ),
    case(
        "env-values",
        'printf "E1=a=b<<c\\nE2=b\\r\\nE3=" >> "$TOWPATH_ENV"',
        'printf "%s|" "$E1" "$E2" "${E3-unset}"',
        output="a=b<<c|b\r||",
    ),
    case(
        "env-name",
        'echo a-b=1 >> "$TOWPATH_ENV"',
        output="towpath: TOWPATH_ENV: not a variable's name: a-b\n",
        codes=(1,),
    ),
    case(
        "path",
        'mkdir -p tools; printf "#!/bin/sh\\necho mine\\n" > tools/mine; chmod +x tools/mine\n'
        'echo "PATH=$PWD/tools:$PATH" >> "$TOWPATH_ENV"',
        "mine",
        output="mine\n",
    ),
    case(
        "env-file-before",
        'cat "$TOWPATH_ENV"; test -f "$TOWPATH_ENV" && test -w "$TOWPATH_ENV" && echo empty',
        output="empty\n",
    ),
)

CASES = (*SHELL, *ENDS, *PROCESSES, *MACHINE, *FILES, *BETWEEN_STEPS)

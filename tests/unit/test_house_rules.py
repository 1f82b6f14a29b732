"""Checks of the house rules: sizes, where SQL lives, and owners of libraries, tables and the environment.

Each test lists every place that breaks its rule, with file and line.
"""

import ast
import functools
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.database.store import Queries

ROOT = Path(__file__).parents[2]
PRODUCT = ("services", "shared", "cli", "devstack", "docs")
ALL = (*PRODUCT, "tests", "bench", "scripts")

LONGEST_FILE = 500
LONGEST_LINE = 110
LONGEST_FUNCTION = 45
MIGRATIONS = "shared/database/sql/"
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
FOREIGN_PLACES = ("/work/" + "shared", "../" + "shared", "/work/" + "main")

OWNERS: dict[str, Callable[[str], bool]] = {
    "aio_pika": lambda path: (
        path
        in {"shared/messaging/bus.py", "shared/messaging/broker_calls.py", "shared/messaging/consumer.py"}
    ),
    "aiormq": lambda path: (
        path
        in {"shared/messaging/bus.py", "shared/messaging/broker_calls.py", "shared/messaging/consumer.py"}
    ),
    "pamqp": lambda path: (
        path in {"shared/messaging/bus.py", "shared/messaging/consumer.py", "shared/messaging/topology.py"}
    ),
    "asyncpg": lambda path: (
        path in {"shared/database/store.py", "shared/database/migrate.py"}
        or path.endswith("store.py")
        or "/store/" in path
        or path.startswith("devstack/")
    ),
    "kubernetes": lambda path: path == "shared/kubernetes/client.py",
    "cryptography": lambda path: path == "shared/crypto.py",
    "zstandard": lambda path: path.startswith("services/"),
    "typer": lambda path: path.startswith("cli/"),
    "rich": lambda path: path.startswith("cli/"),
}
"""The modules that may import a library with one owner."""


@functools.cache
def parsed(path: Path) -> tuple[str, ast.Module, tuple[ast.AST, ...]]:
    """Return the path from the root, the syntax tree and all its nodes.

    The result is cached for all rules.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return path.relative_to(ROOT).as_posix(), tree, tuple(ast.walk(tree))


@functools.cache
def modules(package: str) -> tuple[Path, ...]:
    return tuple(sorted((ROOT / package).rglob("*.py")))


def sources(*packages: str) -> list[tuple[str, ast.Module]]:
    """Return the path from the root and the syntax tree of every module of these packages."""
    return [parsed(path)[:2] for package in packages for path in modules(package)]


def nodes(*packages: str) -> Iterator[tuple[str, ast.AST]]:
    for package in packages:
        for module in modules(package):
            path, _, found = parsed(module)
            for node in found:
                yield path, node


def place(path: str, node: ast.AST) -> str:
    return f"{path}:{getattr(node, 'lineno', 1)}"


def imported(node: ast.AST) -> list[str]:
    """Return the modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for an expression of this form, otherwise an empty string."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def none_of(broken: list[str]) -> None:
    assert not broken, "\n" + "\n".join(broken)


def test_the_rules_see_the_code() -> None:
    assert {path.split("/")[0] for path, _ in sources(*PRODUCT)} >= {"services", "shared", "cli", "devstack"}
    assert sum(1 for _ in nodes("shared")) > 5000


def test_files_are_short() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path, _ in sources(*ALL)}
    none_of(
        [
            f"{path}: {length} lines, at most {LONGEST_FILE}"
            for path, length in lengths.items()
            if length > LONGEST_FILE
        ]
    )


def test_lines_are_short() -> None:
    """Check Python files and queries. Applied migrations stay as they are."""
    paths = [ROOT / path for path, _ in sources(*ALL)]
    paths += [
        path for folder in ALL for path in sorted((ROOT / folder).rglob("*.sql")) if path.parent.name != "sql"
    ]
    lines = ((path, line) for path in paths for line in enumerate(path.read_text("utf-8").splitlines(), 1))
    none_of(
        [
            f"{path.relative_to(ROOT)}:{number}: {len(text)} characters, at most {LONGEST_LINE}"
            for path, (number, text) in lines
            if len(text) > LONGEST_LINE
        ]
    )


def test_functions_are_short() -> None:
    functions = (
        (path, node) for path, node in nodes(*ALL) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = ((path, node, (node.end_lineno or 0) - node.lineno + 1) for path, node in functions)
    none_of(
        [
            f"{place(path, node)} {node.name}: {length} lines, at most {LONGEST_FUNCTION}"
            for path, node, length in lengths
            if length > LONGEST_FUNCTION
        ]
    )


def test_texts_use_the_words_of_the_field() -> None:
    """Everywhere but in the change log, in applied migrations, and in this list."""
    word = re.compile(
        r"\b(?:(?i:doorbells?|mend(?:s|ed|ing)?|whoever|whatever|singly|each_its_own"
        r"|(?:brings?|bringing|brought) (?:\w+ )?about|(?:comes?|coming|came) forth)|Happenings?|Lessons?)\b"
    )
    broken = []
    for path in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
        exempt = path in {"CHANGELOG.md", "tests/unit/test_house_rules.py"} or path.startswith(MIGRATIONS)
        if not exempt and Path(path).suffix in {".py", ".md", ".sql", ".toml", ".yaml", ".yml", ".sh", ""}:
            lines = (ROOT / path).read_text("utf-8", "replace").splitlines()
            broken += [
                f"{path}:{number}: {text}" for number, text in enumerate(lines, 1) if word.search(text)
            ]
    none_of(broken)


def test_no_identifier_is_a_private_word() -> None:
    words = {"look", "looks", "mirror", "evidence", "ledger", "making", "wording", "patience", "inert"}
    words |= {"Beside", "Conduct", "Mirror", "Ledger", "Wakes", "Doorbell", "Looks", "bell"}
    broken = []
    for path, tree in sources(*ALL):
        for node in ast.walk(tree):
            names = {getattr(node, field, None) for field in ("name", "id", "arg", "attr")}
            found = {name for name in names if isinstance(name, str) and name.strip("_") in words}
            broken += [f"{path}:{getattr(node, 'lineno', 0)}: {name}" for name in found]
    none_of(broken)


def test_docstrings_of_the_product_open_with_a_statement() -> None:
    opening = re.compile(r"(?:What|Where|Which|How|Whoever|Whatever)\b")
    none_of(
        [
            f"{path}:{node.lineno}: {node.value.value[:40]}"
            for path, tree in sources(*PRODUCT)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            and opening.match(node.value.value)
        ]
    )


def test_every_module_says_what_it_is_for() -> None:
    none_of([path for path, tree in sources(*ALL) if tree.body and not ast.get_docstring(tree)])


def test_no_module_has_a_vague_name() -> None:
    words = {path: set(re.split(r"[/_.]", path)) for path, _ in sources(*PRODUCT, "bench")}
    none_of([path for path, parts in words.items() if parts & VAGUE_NAMES])


def test_only_settings_read_the_environment() -> None:
    reads = {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    outside = [(path, node) for path, node in nodes(*PRODUCT) if not path.endswith("settings.py")]
    none_of(
        [place(path, node) for path, node in outside if dotted(node) in reads or reads & set(imported(node))]
    )


def test_each_library_has_one_owner() -> None:
    imports = (
        (path, node, {name.split(".")[0] for name in imported(node)}) for path, node in nodes(*PRODUCT)
    )
    none_of(
        [
            f"{place(path, node)} imports {library}"
            for path, node, libraries in imports
            for library in libraries & OWNERS.keys()
            if not OWNERS[library](path)
        ]
    )


def test_nothing_sleeps_while_it_holds_the_thread() -> None:
    none_of(
        [
            place(path, node)
            for path, node in nodes("services", "shared", "tests")
            if dotted(node) == "time.sleep" or "time.sleep" in imported(node)
        ]
    )


def test_ignores_name_a_rule_and_a_reason() -> None:
    mark = re.compile(
        r"#\s*(?:type:\s*ignore|noqa)"
        r"(?P<rule>\[[\w-]+(?:,\s*[\w-]+)*\]|:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?(?P<rest>.*)"
    )
    broken = []
    for path, _ in sources(*PRODUCT, "bench", "tests"):
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
            found = mark.search(line)
            if (
                found
                and path != "tests/unit/test_house_rules.py"
                and not (found["rule"] and len(found["rest"].strip(" #-")) > 8)
            ):
                broken.append(f"{path}:{number}")
    none_of(broken)


def test_a_match_over_statuses_is_complete() -> None:
    machines = ("Status.", "AttemptStatus.", "Reason.", "WaitingFor.")
    broken = []
    for path, node in nodes("services", "shared"):
        if not isinstance(node, ast.Match):
            continue
        values = [
            part.value
            for case in node.cases
            for part in ast.walk(case.pattern)
            if isinstance(part, ast.MatchValue)
        ]
        last = node.cases[-1].body[-1]
        call = last.value if isinstance(last, ast.Expr | ast.Return) else None
        complete = isinstance(call, ast.Call) and dotted(call.func).endswith("assert_never")
        if any(dotted(value).startswith(machines) for value in values) and not complete:
            broken.append(place(path, node))
    none_of(broken)


def test_files_speak_of_the_project_alone() -> None:
    suffixes = {".py", ".md", ".toml", ".sql", ".yml", ".yaml", ".sh", ".txt", ".html", ""}
    paths = [path for folder in ALL for path in (ROOT / folder).rglob("*") if path.is_file()] + [
        path for path in ROOT.iterdir() if path.is_file()
    ]
    broken = []
    for path in paths:
        if path.suffix in suffixes and "__pycache__" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="replace")
            broken += [
                f"{path.relative_to(ROOT)} names {foreign}" for foreign in FOREIGN_PLACES if foreign in text
            ]
    none_of(broken)


# ---------------------------------------------------------------- SQL


def statements_of(path: Path) -> dict[str, str]:
    return dict(Queries(path.read_text(encoding="utf-8")))


def query_files() -> list[Path]:
    return sorted([*(ROOT / "services").rglob("*.sql"), *(ROOT / "shared").rglob("queries.sql")])


def writers_by_table() -> dict[str, str]:
    """Return the writer of each table, from the comment above its CREATE TABLE.

    It is an empty string if there is no such comment.
    """
    writers = {}
    for path in sorted((ROOT / "shared/database/sql").glob("*.sql")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if created := re.match(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", line):
                said = re.match(r"-- writer: (\w+)", lines[number - 1])
                writers[created[1]] = said[1] if said else ""
    return writers


def without_comments(statement: str) -> str:
    return re.sub(r"--[^\n]*", "", statement)


def tables_written(statement: str) -> set[str]:
    """Return the tables that a statement inserts into, updates, or deletes from.

    `FOR UPDATE` and `DO UPDATE` name no table to write.
    """
    write = (
        r"(?:\bINSERT\s+INTO|\bDELETE\s+FROM|\bMERGE\s+INTO|\bTRUNCATE|(?<!FOR )(?<!DO )(?<!KEY "
        r")\bUPDATE)\s+(?:ONLY\s+)?(\w+)"
    )
    text = re.sub(r"\s+", " ", without_comments(statement))
    return set(re.findall(write, text, flags=re.IGNORECASE))


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("UPDATE jobs SET x = 1", {"jobs"}),
        ("SELECT 1 FROM jobs FOR UPDATE SKIP LOCKED", set()),
        ("SELECT 1 FROM jobs FOR NO KEY UPDATE SKIP LOCKED", set()),
        ("INSERT INTO events (a) VALUES (1) ON CONFLICT (a) DO\n UPDATE SET a = 2", {"events"}),
        (
            "WITH gone AS (DELETE FROM attempts RETURNING id) INSERT INTO jobs SELECT 1 -- UPDATE users",
            {"attempts", "jobs"},
        ),
    ],
)
def test_the_writes_of_a_statement_are_recognised(statement: str, tables: set[str]) -> None:
    assert tables_written(statement) == tables


def test_every_table_names_its_one_writer() -> None:
    writers = writers_by_table()
    assert len(writers) > 20
    none_of(
        [
            f"{table}: no `-- writer:` above its CREATE TABLE"
            for table, writer in writers.items()
            if not writer
        ]
    )


def test_services_write_only_their_own_tables() -> None:
    writers = writers_by_table()
    broken = []
    for path in (ROOT / "services").rglob("*.sql"):
        service = path.relative_to(ROOT / "services").parts[0]
        for name, statement in statements_of(path).items():
            foreign = {
                table
                for table in tables_written(statement)
                if table in writers and writers[table] not in {service, "each"}
            }
            broken += [f"{path.relative_to(ROOT)} {name}: {table} is {writers[table]}'s" for table in foreign]
    none_of(broken)


def test_every_query_has_a_sentence() -> None:
    broken = []
    for path in query_files():
        for name, statement in statements_of(path).items():
            comment = re.match(r"(?:--[^\n]*\n)+", statement)
            if not comment or not re.search(r"\w[^\n]*[.;]", comment[0]):
                broken.append(f"{path.relative_to(ROOT)}: {name}")
    none_of(broken)


def test_every_query_is_used_and_every_query_used_exists() -> None:
    broken = []
    runs = {"_rows", "_row", "_value", "_run"}
    for package in sorted({path.parent.relative_to(ROOT).as_posix() for path in query_files()}):
        names = {
            name for path in query_files() if path.parent == ROOT / package for name in statements_of(path)
        }
        constants = {
            node.value
            for _, node in nodes(package)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        calls = [
            node
            for _, node in nodes(package)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in runs
        ]
        called = {
            call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)
        }
        broken += [f"{package}: {name!r} is never run" for name in names - constants]
        if package != "shared":
            broken += [f"{package}: there is no query {name!r}" for name in called - names]
    none_of(broken)


def test_sql_lives_in_sql_files() -> None:
    sql = re.compile(
        r"\s*(?:SELECT\s.+?\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
        r"|WITH\s+\w+\s+AS\s*\()",
        re.IGNORECASE | re.DOTALL,
    )
    strings = (
        (path, node)
        for path, node in nodes("services", "cli")
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    none_of([place(path, node) for path, node in strings if sql.match(str(node.value))])

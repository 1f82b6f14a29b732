"""Tests of durations, quantities, repositories, images and folders: accepted and refused values."""

import time
from collections.abc import Callable

import pytest

from shared.pipeline import values
from shared.pipeline.errors import BadValue


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.duration_seconds, "90s", 90),
        (values.duration_seconds, "20m", 1200),
        (values.duration_seconds, "1h", 3600),
        (values.duration_seconds, "7d", 604_800),
        (values.pause_seconds, "1h", 3600),
        (values.cpu_millis, "500m", 500),
        (values.cpu_millis, "2", 2000),
        (values.cpu_millis, "0.5", 500),
        (values.cpu_millis, "1.25", 1250),
        (values.cpu_millis, "256", 256_000),
        (values.memory_bytes, "1Gi", 1024**3),
        (values.memory_bytes, "1.5Gi", 3 * 1024**3 // 2),
        (values.memory_bytes, "512M", 512_000_000),
        (values.memory_bytes, "131072k", 131_072_000),
        (values.memory_bytes, "16777216", 16 * 1024**2),
        (values.memory_bytes, "20000000.5", 20_000_001),
        (values.memory_bytes, "4Ti", 4 * 1024**4),
    ],
)
def test_an_amount_is_read(read: Callable[[str], int], text: str, expected: int) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *[(values.duration_seconds, text) for text in ("", "90", "0s", "1h30m", "1.5h", "-1s", "8d", "1w",
            "1 h", "99999999s", "٣s", "1s\n")],
        *[(values.cpu_millis, text) for text in ("", "9m", "257", "0.5m", "1k", "-1", "1e3", ".5", "1.0001",
            "nan")],
        *[(values.memory_bytes, text) for text in ("", "15Mi", "5Ti", "512m", "512MB", "1gi", "1 Gi", "-1Gi",
            "1e9", "1Pi", "nan", "9" * 16)],
        *[(values.repository, text) for text in ("web", "octo/", "/web", "octo/web/x", "*/web", "octo/..",
            "https://github.com/octo/web")],
        *[(values.repository, text) for text in ("git@github.com:octo/web", "octo/we b", "!octo/web",
            "octo/[ab]", "-octo/web")],
        *[(values.image, text) for text in ("", "Python", "a b", "a:", "a@sha256:12", "-a", "a//b", "a:b:c",
            "http://a/b", "a\n", "a;b")],
        *[(values.relative_folder, text) for text in ("", " ", "/srv", "~/x", "..", "a/../b", "a\nb")],
        *[(values.job_name, text) for text in ("", "1a", "a.b", "a b", "-a", "é", "a\n", "a" * 64)],
        *[(values.pause_seconds, text) for text in ("3601s", "61m", "2h", "0s", "1")],
        *[(values.service_name, text) for text in ("", "1", "9a", "-a", "a-", "a.b", "a_b", "DB", "a\n",
            "a" * 56, "clone", "job", "artifacts", "localhost")],
        *[(values.label_key, text) for text in ("", "-a", "a-", "a/", "/a", "a/b/c", "A.io/x", "a b", "a\n",
            "a" * 64, f"{'a.' * 127}a/x")],
        *[(values.label_value, text) for text in ("-a", "a-", "a/b", "a b", "a\n", "a" * 64)],
        *[(values.env_name, text) for text in ("", "1A", "A-B", "A B", "A=B", "TOWPATH_X", "TOWPATH",
            "towpath_x", "A" * 129)],
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(BadValue):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "python",
        "python:3.12",
        "library/python:3.12-slim",
        "ghcr.io/octo/web__app/x-y.z:1.2_3",
        "localhost:5000/web",
        "[::1]:5000/web",
        f"debian@sha256:{'0a' * 32}",
        f"registry.example.com/web:1@sha512:{'0a' * 64}",
    ],
)
def test_an_image_is_named_as_docker_names_it(text: str) -> None:
    assert values.image(text) == text


@pytest.mark.parametrize("text", ["db", "d", "my-db2", "a" * 55])
def test_a_service_is_named_as_a_host(text: str) -> None:
    assert values.service_name(text) == text


@pytest.mark.parametrize(
    "text", ["arch", "kubernetes.io/arch", "node.kubernetes.io/Instance_type.x", "a" * 63]
)
def test_a_label_has_a_key_as_in_kubernetes(text: str) -> None:
    assert values.label_key(text) == text


@pytest.mark.parametrize("text", ["", "arm64", "true", "m5.large", "a_b-c", "a" * 63])
def test_a_label_has_a_value_as_in_kubernetes(text: str) -> None:
    assert values.label_value(text) == text


@pytest.mark.parametrize("text", ["octo/web", "Octo-1/web.js", "octo/*", "octo/web-?", "a_b/c"])
def test_a_repository_is_an_owner_and_a_name(text: str) -> None:
    assert values.repository(text) == text


@pytest.mark.parametrize("text", [".", "web", "web/app", "..web/x..", "a b", "-a"])
def test_a_folder_lies_in_the_checkout(text: str) -> None:
    assert values.relative_folder(text) == text


@pytest.mark.parametrize(
    ("read", "text", "hint"),
    [
        (values.duration_seconds, "90", "Write 90s or 90m."),
        (values.duration_seconds, "1h30m", "Write one number and one unit: 90s, 20m, 1h or 2d."),
        (values.memory_bytes, "512m", "Write 512Mi."),
        (values.memory_bytes, "2GB", "Write 2Gi."),
        (values.repository, "https://github.com/octo/web", "Write octo/web."),
        (values.repository, "*/web", "Write octo/*."),
        (values.image, "octo/Web:1", "Write octo/web:1."),
    ],
)
def test_the_hint_says_what_to_write(read: Callable[[str], object], text: str, hint: str) -> None:
    with pytest.raises(BadValue) as refused:
        read(text)
    assert refused.value.hint == hint


@pytest.mark.alone("measures processor time")
@pytest.mark.parametrize("text", ["a" * 1024 + "!", "a." * 512 + "!", "a-" * 512, "a.b/" * 256])
def test_no_label_takes_long_to_refuse(text: str) -> None:
    start = time.process_time()
    with pytest.raises(BadValue):
        values.label_key(text)
    assert time.process_time() - start < 0.05


@pytest.mark.alone("measures processor time")
@pytest.mark.parametrize(
    "text",
    [
        "a-" * 256,
        "a" * 511 + "!",
        "a." * 255 + "!",
        "a_" * 255 + "!",
        "a/" * 255 + "!",
        "A-" * 255,
        "0" * 511 + ":",
    ],
)
def test_no_image_takes_long_to_refuse(text: str) -> None:
    start = time.process_time()
    with pytest.raises(BadValue):
        values.image(text)
    assert time.process_time() - start < 0.05

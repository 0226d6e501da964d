"""YAML and JSON text becomes plain data with line numbers; nothing is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.errors import InputError
from parplan.spec.document import SIZE_LIMIT, parse_document, read_document

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé .[]"), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("007", 7),
        ("1e9", 1e9),
        ("-1.5E-3", -0.0015),
        ("1_000", 1000),
        ("0x10", 16),
        (".inf", float("inf")),
        ("~", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("true", True),
    ],
)
def test_scalars_follow_the_yaml_1_2_core_schema(text: str, value: Any) -> None:
    found = parse_document(f"a: {text}").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_texts_and_have_lines() -> None:
    document = parse_document("a: 1\nb:\n  - c: 2\n    1: x\n  - 5\n")
    assert document.data == {"a": 1, "b": [{"c": 2, "1": "x"}, 5]}
    assert document.lines == {"a": 1, "b": 2, "b[0]": 3, "b[0].c": 3, "b[0].1": 4, "b[1]": 5}


@pytest.mark.parametrize(
    ("key", "line"), [("b[0].c", 3), ("b[0].c.d[4].e", 3), ("b[7]", 2), ("z", None), (None, None)]
)
def test_line_of_a_missing_key_is_that_of_the_key_above(key: str | None, line: int | None) -> None:
    assert parse_document("a: 1\nb:\n  - c: 2\n").line_of(key) == line


@given(PLAIN)
def test_json_reads_as_json_does(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    for ascii_only in (True, False):
        text = json.dumps({"data": data}, indent="\t", ensure_ascii=ascii_only)
        path.write_text(text, encoding="utf-8")
        document = read_document(path)
        assert document.data == {"data": data}
        assert document.lines["data"] == 2


def test_aliases_are_values(tmp_path: Path) -> None:
    assert parse_document("a: &x {b: 1}\nc: *x").data == {"a": {"b": 1}, "c": {"b": 1}}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: !!python/object/apply:os.system [ls]", 1, "tag '!!python/object/apply:os.system'"),
        ("a: !mine 5", 1, "tag '!mine' is not allowed"),
        ("a: !!binary aGk=", 1, "tag '!!binary' is not allowed"),
        (BOMB, None, "more than 200,000 values"),
        ("a: &x [*x]", 1, "part of"),
        ("a: 1\nb: 2\na: 3", 3, "key 'a' is given twice (first on line 1)"),
        ("a:\n\t- b", 2, "a tab indents this line"),
        ("a: [1,\n", 2, "ends too early"),
        ("a: 'open\n", 1, "ends too early"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: *nowhere", 1, "undefined alias 'nowhere'"),
        ("[a, b]: 1", 1, "a key must be a text"),
        ("--- a\n--- b\n", 2, "expected a single document"),
        ("", None, "is empty"),
        ("# nothing", None, "is empty"),
        ("a: " + "[" * 4000, None, "nested too deeply"),
        ("a: " + "9" * 5000, 1, "too many digits"),
        ("a: \x00", None, "is not YAML"),
    ],
)
def test_broken_yaml_is_located_and_explained(text: str, line: int | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_document(text, "spec.yaml")
    assert message in str(caught.value)
    assert caught.value.file == "spec.yaml"
    assert "\n" not in str(caught.value)
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"a: 1\nb: \xff\n", r"a\.yaml:2: byte 0xff is not UTF-8"),
        ("a.json", b'{"a": 1,\n "b": }', r"a\.json:2: is not JSON: Expecting value"),
        ("a.json", b'{"a": 1,\n "a": 2}', r"a\.json:2: a: key 'a' is given twice"),
        ("a.json", b'{"a": NaN}', "NaN is no number in JSON"),
        ("a.json", b"[" * 100_000, "is not JSON|nested too deeply"),
        ("a.yaml", b"#" * (SIZE_LIMIT + 1), "is larger than the"),
    ],
)
def test_broken_files_are_located(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_document(tmp_path / name)


def test_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_document(tmp_path / "a.yaml").data == {"a": 1}


@given(st.text(max_size=60))
def test_any_text_is_data_or_an_input_error(text: str) -> None:
    try:
        parse_document(text)
    except InputError:
        return

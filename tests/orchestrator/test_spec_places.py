"""YAML reading: the 1.2 core schema, places, and files that mean harm."""

from __future__ import annotations

import math

import pytest

from orchestrator.errors import WorkflowError
from orchestrator.places import LARGEST_NODES_FROM_ALIASES, dotted, parse_document, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E5", 1e5),
        ("1.0e-5", 1e-5),
        (".5", 0.5),
        ("12", 12),
        ("-3", -3),
        ("0x1f", 31),
        ("0o17", 15),
        ("012", 12),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("'12'", "12"),
        ('"true"', "true"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    found = parse_document(f"key: {text}", "f.yaml").root.plain()["key"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_keeps_its_place():
    document = parse_document("a:\n  b: [1, {c: x}]\n", "f.yaml")
    document.report(("a", "b", 1, "c"), "value")
    document.report(("a", "b", 1, "c"), "key", at_key=True)
    document.report(("a", "b", 1, "nowhere", "deeper"), "parent")
    assert [str(problem) for problem in document.problems] == [
        "f.yaml:2:14: a.b[1].c: value",
        "f.yaml:2:11: a.b[1].c: key",
        "f.yaml:2:10: a.b[1]: parent",
    ]


def test_aliases_work_and_are_placed_where_they_stand():
    document = parse_document("a: &x {n: 1}\nb: *x\n", "f.yaml")
    assert document.root.plain() == {"a": {"n": 1}, "b": {"n": 1}}
    document.report(("b",), "here")
    assert str(document.problems[0]) == "f.yaml:2:4: b: here"


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{now}: &{now} [{', '.join([f'*{last}'] * 10)}]" for last, now in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    with pytest.raises(WorkflowError, match=f"aliases expand to more than {LARGEST_NODES_FROM_ALIASES} values"):
        parse_document("\n".join(lines), "f.yaml")


def test_all_structural_faults_are_found_in_one_reading():
    text = "a: !!python/object:os.system x\nb: 1\nb: 2\n3: x\n<<: {c: 1}\nd: *gone\n"
    found = [str(problem) for problem in parse_document(text, "f.yaml").problems]
    assert found == [
        "f.yaml:1:4: tag `tag:yaml.org,2002:python/object:os.system` is not allowed; write plain YAML",
        "f.yaml:3:1: key `b` stands twice; first at 2:1",
        "f.yaml:4:1: a key must be text; got `3`; put it in quotes if it is a name",
        "f.yaml:5:1: merge keys `<<` are not allowed; write the keys out",
        "f.yaml:6:4: alias `*gone` names no anchor before it",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1,", "f.yaml:2:1: not valid YAML"),
        ("a: b: c", "f.yaml:1:5: not valid YAML"),
        ("\ta: 1", "f.yaml:1:1: not valid YAML"),
        ("a: 1\nb: \x01", "f.yaml:2:4: not valid YAML: control character U+0001"),
        ("- a\n- b", "expected a mapping with keys such as `name`"),
        ("just text", "expected a mapping"),
        ("", "got nothing"),
        ("a: " + "[" * 100, "nested deeper than 32 levels"),
    ],
)
def test_what_is_no_mapping_is_refused_with_its_place(text, expected):
    with pytest.raises(WorkflowError) as caught:
        parse_document(text, "f.yaml")
    assert expected in str(caught.value)


def test_a_second_document_is_refused():
    assert "second YAML document" in str(parse_document("a: 1\n---\nb: 2\n", "f.yaml").problems[0])


def test_text_that_is_not_utf8_is_placed(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_bytes("name: x\nprompts: [été]\n".encode("latin-1"))
    with pytest.raises(WorkflowError) as caught:
        read_document(file)
    assert str(caught.value) == f"{file}:2:11: byte 0xe9 at offset 18 is not UTF-8; save the file as UTF-8"


def test_a_byte_order_mark_is_dropped(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_bytes("\ufeffname: x\n".encode())
    assert read_document(file).root.plain() == {"name": "x"}


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(WorkflowError, match="no such file"):
        read_document(tmp_path / "gone.yaml")
    with pytest.raises(WorkflowError, match="this is a folder"):
        read_document(tmp_path)


def test_paths_are_shown_as_people_write_them():
    assert dotted(("steps", "small", "size", 1)) == "steps.small.size[1]"

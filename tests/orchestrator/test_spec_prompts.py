"""Prompt lists in all their forms."""

from __future__ import annotations

import json
import sys

import pytest
from planning import GOOD

from orchestrator.errors import WorkflowError
from orchestrator.paths import slug
from orchestrator.plan import Prompt
from orchestrator.prompt_rules import PromptRules
from orchestrator.prompts import read_prompt_file
from orchestrator.settings import PromptFile
from orchestrator.spec import read_workflow

LIMIT = PromptRules(100, "builtin")


def read(path, **columns):
    return read_prompt_file(path, PromptFile(file=path.name, **columns), LIMIT)


def faults(path, **columns) -> list[str]:
    with pytest.raises(WorkflowError) as caught:
        read(path, **columns)
    return [str(problem).replace(f"{path}", path.name) for problem in caught.value.problems]


def test_a_text_file_has_one_prompt_a_line(tmp_path):
    file = tmp_path / "p.txt"
    file.write_bytes("a red apple\r\n赤いりんご\nqızıl alma".encode())
    assert read(file) == (
        Prompt("p00000", "a red apple"),
        Prompt("p00001", "赤いりんご"),
        Prompt("p00002", "qızıl alma"),
    )


def test_csv_with_quotes_line_ends_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "p.csv"
    file.write_bytes('\ufeffid,n,text\na,1,"a cat, and\na dog"\nb/c,2,"say ""hi"""\n\n'.encode())
    assert read(file) == (Prompt("a", "a cat, and\na dog"), Prompt("b/c", 'say "hi"'))


def test_csv_columns_are_chosen_by_name(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("key,caption,id\nk1,a cat,9\n")
    assert read(file, id="key", text="caption") == (Prompt("k1", "a cat"),)


def test_csv_without_ids_counts(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("text\na cat\na dog\n")
    assert [prompt.id for prompt in read(file)] == ["p00000", "p00001"]


def test_json_lines(tmp_path):
    file = tmp_path / "p.jsonl"
    rows = [{"id": 7, "text": "un chat", "more": [1]}, {"id": "b", "text": "犬"}]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert read(file) == (Prompt("7", "un chat"), Prompt("b", "犬"))


def test_parquet(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "p.parquet"
    parquet.write_table(arrow.table({"id": [3, 4], "text": ["ein Hund", "🐈"], "big": [0.1, 0.2]}), file)
    assert read(file) == (Prompt("3", "ein Hund"), Prompt("4", "🐈"))
    assert faults(file, text="txt") == ["p.parquet: no column `txt`; did you mean `text`? known: big, id, text"]
    file.write_bytes(b"not parquet")
    assert "not a readable Parquet file" in faults(file)[0]


def test_parquet_without_pyarrow_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (folder / "p.parquet").write_bytes(b"")
    (folder / "w.yaml").write_text(
        GOOD.replace("prompts:\n  - a red apple\n  - 赤いりんご", "prompts: {file: p.parquet}"), encoding="utf-8"
    )
    with pytest.raises(WorkflowError, match=r"w.yaml:2:10: prompts: .* pip install 'parhelion\[data\]'"):
        read_workflow(folder / "w.yaml")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("p.txt", b"a\n\nb\n", ["p.txt:2:1: the prompt is empty"]),
        ("p.txt", b"a\n\xff\n", ["p.txt:2:1: byte 0xff at offset 2 is not UTF-8; save the file as UTF-8"]),
        ("p.txt", b"", ["p.txt: the file holds no prompts"]),
        ("p.txt", b"a\x07b\n", ["p.txt:1:1: the prompt holds the control character U+0007"]),
        ("p.txt", b"x" * 101, ["p.txt:1:1: the prompt has 101 characters; the text encoder builtin takes at most 100"]),
        ("p.doc", b"a", ["p.doc: unknown kind of prompt file `.doc`; known: .csv, .jsonl, .parquet, .txt"]),
        ("p.csv", b"id,txt\na,b\n", ["p.csv:1:1: no column `text`; did you mean `txt`? known: id, txt"]),
        ("p.csv", b"text,text\na,b\n", ["p.csv:1:1: the column `text` stands twice"]),
        (
            "p.csv",
            b"id,text\na,b,c\nb\nb,x\nb,y\n",
            [
                "p.csv:2:1: expected 2 fields as in the header; got 3",
                "p.csv:3:1: expected 2 fields as in the header; got 1",
                "p.csv:5:1: the id `b` stands twice; first at line 4",
            ],
        ),
        ("p.csv", b'id,text\na,"open\n', ["p.csv:2:1: not valid CSV: unexpected end of data"]),
        ("p.csv", b"id,text\n,b\n", ["p.csv:2:1: the id is empty"]),
        ("p.csv", b"id,text\na\x00,b\n", ["p.csv:2:1: the file holds a zero byte"]),
        (
            "p.jsonl",
            b'{"text": 1}\n{"text": "b"',
            ["p.jsonl:1:1: `text` must be text; got 1", "p.jsonl:2:1: not valid JSON"],
        ),
        ("p.jsonl", b"[1]\n", ["p.jsonl:1:1: expected a JSON object"]),
        ("p.jsonl", b'{"id": true, "text": "b"}\n', ["p.jsonl:1:1: `id` must be text or a whole number; got true"]),
    ],
)
def test_faults_have_their_line(tmp_path, name, data, expected):
    file = tmp_path / name
    file.write_bytes(data)
    found = faults(file)
    assert len(found) == len(expected), found
    assert all(part in line for part, line in zip(expected, found, strict=True)), found


def test_many_faults_are_cut_short(tmp_path):
    file = tmp_path / "p.txt"
    file.write_text("\n" * 200)
    found = faults(file)
    assert len(found) == 51
    assert "and 150 more faults of this kind" in found[0]


def test_columns_of_a_text_file_have_no_meaning(tmp_path):
    file = tmp_path / "p.txt"
    file.write_text("a\n")
    assert "a .txt file has no columns" in faults(file, id="key")[0]


def test_slugs_are_safe_and_told_apart():
    assert slug("en-dog_1.v2") == "en-dog_1.v2"
    assert slug("犬") == "犬"
    names = ["a/b", "a b", "a:b", "..", ".a", "a.", "CON", "nul.txt", "é", "e\u0301", "x" * 300, "犬" * 100, " ", "-"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    for text in slugs:
        assert len(text.encode()) <= 100
        assert not set(text) & set('/\\:*?"<>| ')
        assert text.strip(".") == text

"""Tables, tokens and labelled text: read strictly, mapped to ids and back, refused with the place."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.data import (
    Classification,
    LabelledText,
    TextStream,
    Tokens,
    random_split,
    read_table,
    task_from_dict,
)
from rnncore.data.labelled import labels_of_files
from rnncore.data.table import read_lines

fields = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\t"), max_size=8)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@given(texts=st.lists(st.text(max_size=20), min_size=1), units=st.sampled_from(["characters", "bytes"]))
def test_known_characters_and_bytes_come_back(texts, units):
    tokens = Tokens.from_texts(texts, units)
    for text in texts:
        if units == "characters" or text.isprintable():
            assert tokens.decode(tokens.encode(text)) == text
        ids = tokens.encode(text)
        assert ids.dtype == np.int32
        assert not len(ids) or (ids.min() >= (units == "characters") and ids.max() < len(tokens))


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=9), min_size=1),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_the_vocabulary_is_the_most_frequent_words_that_are_frequent_enough(texts, min_count, max_size):
    texts = [" ".join(text) for text in texts]
    counts = {word: "".join(texts).count(word) for word in "abcdefgh"}
    tokens = Tokens.from_texts(texts, "words", min_count, max_size)
    ranked = sorted((-n, word) for word, n in counts.items() if n >= min_count)
    assert list(tokens.entries) == [word for _, word in ranked][:max_size]
    for text in texts:
        known = {word: number for number, word in enumerate(tokens.entries, 1)}
        assert tokens.encode(text).tolist() == [known.get(word, 0) for word in text.split()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's well-made, isn't it?", ["It's", "well-made", ",", "isn't", "it", "?"]),
        ('a "b" (c)', ["a", '"', "b", '"', "(", "c", ")"]),
        ("naïve Müller 1.5", ["naïve", "Müller", "1", ".", "5"]),
        ("  ", []),
    ],
)
def test_words_are_what_a_reader_takes_for_them(text, words):
    assert Tokens("words").split(text) == words
    assert Tokens("words", lower=True).split(text) == [word.lower() for word in words]


def test_words_stream_for_a_language_model():
    text = "the fox sees the dog and the dog sees the fox " * 5
    tokens = Tokens.from_texts([text], "words", min_count=6)
    (batch,) = TextStream(tokens.encode(text), 3).batches(0)
    assert tokens.decode(batch.x[:4, 0]) == "the fox sees the"
    assert tokens.decode(batch.target[:4, 0]) == "fox sees the dog"
    assert tokens.decode([0, 1]) == "<unk> the"


@pytest.mark.parametrize(
    "tokens", [Tokens("words", ["a", "bc"], True), Tokens("characters", "xy"), Tokens("bytes")]
)
def test_a_task_is_its_json(tokens):
    task = Classification(tokens, ("yes", "no"), "text", None)
    again = task_from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task
    assert hash(again.tokens) == hash(tokens)


@given(rows=st.lists(st.tuples(fields, fields).filter(any), min_size=1, max_size=8))
def test_a_table_is_what_was_written(rows, tmp_path_factory):
    import csv

    path = tmp_path_factory.mktemp("table") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    table = read_table(path)
    assert table.column("text") == [text for text, _ in rows]
    assert table.column("label") == [label for _, label in rows]


def test_tabs_semicolons_and_marks_are_seen_and_lines_are_counted(tmp_path):
    tabs = read_table(write(tmp_path / "t.tsv", 'text\tlabel\r\n" a, "b\tx\r\n\r\nc\x85\u2028d\ty\r\n'))
    assert tabs.column("text") == ['" a, "b', "c\x85\u2028d"]
    assert tabs.lines == [2, 4]
    semicolons = read_table(write(tmp_path / "s.csv", '\ufeffa;b\n"1;2";3,5\n'))
    assert semicolons.rows == [["1;2", "3,5"]]
    assert semicolons.header == ["a", "b"]
    given = read_table(write(tmp_path / "g.csv", "a|b\n1|2\n", "utf-16"), "utf-16", "|")
    assert given.column("b") == ["2"]


@pytest.mark.parametrize("name", ["one.csv", "one.txt"])
def test_a_header_without_delimiter_is_one_column(tmp_path, name):
    table = read_table(write(tmp_path / name, 'text\n"a, ""b"""\nc, d; e\n'))
    assert table.column("text") == ['a, "b"', "c, d; e"]
    assert read_table(write(tmp_path / "one.tsv", 'text\n"a"\n')).column("text") == ['"a"']


def test_numbers_and_what_is_missing(tmp_path):
    table = read_table(write(tmp_path / "n.csv", "day,a,b,c\nmon,1,,x\ntue,-2.5e1,NA,x\nwed, 3 ,7,\n"))
    np.testing.assert_array_equal(table.numbers("a"), [1, -25, 3])
    np.testing.assert_array_equal(table.numbers("b"), [np.nan, np.nan, 7])
    assert table.number_columns() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n1\n", r"t\.csv, line 3 has 1 fields, but the header has 2: 'a', 'b'"),
        ("a,a\n1,2\n", "more than one column 'a'"),
        ('a,b\n"1,2\n', "line 2 cannot be read"),
        (b"a,b\nx\xff,2\n", "not utf-8 text.*0xff"),
    ],
)
def test_what_is_no_table_is_one_error(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_table(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.column("x"), "no column 'x'; its columns are 'text', 'n', 'void'"),
        (lambda t: t.numbers("text"), "line 2: column 'text' holds 'hello', but numbers"),
        (lambda t: t.numbers("n"), "line 3: column 'n' holds 'inf'"),
        (lambda t: t.numbers("void"), "'void' holds no number, all of it is missing"),
        (lambda t: LabelledText.from_table(t, "text", "void"), "line 2: column 'void' is empty"),
        (lambda t: LabelledText.from_table(t, "txt", "n"), "no column 'txt'"),
    ],
)
def test_a_wrong_column_is_one_error(tmp_path, call, message):
    table = read_table(write(tmp_path / "t.csv", "text,n,void\nhello,1,\nworld,inf,\n"))
    with pytest.raises(ValueError, match=message):
        call(table)


def test_files_give_the_labels(tmp_path):
    write(tmp_path / "r.pos", "good\n\n very good \n")
    write(tmp_path / "r.neg", "bad \x85 worse", "latin-1")
    data = LabelledText.from_files([tmp_path / "r.pos", tmp_path / "r.neg"], "cp1252")
    assert data.labels == ["pos", "pos", "neg"]
    assert data.texts == ["good", "very good", "bad … worse"]
    assert labels_of_files(["a.b.txt", "c.b.txt"]) == ["a", "c"]
    assert labels_of_files(["a.txt", "b.c.txt"]) == ["a", "b.c"]
    assert labels_of_files(["x/a.txt"]) == ["a"]
    with pytest.raises(ValueError, match="same name"):
        labels_of_files(["x/a.txt", "y/a.txt"])
    with pytest.raises(ValueError, match="encoding is 'nonsense'"):
        read_lines(tmp_path / "r.pos", "nonsense")
    with pytest.raises(ValueError, match="blank holds no text"):
        read_lines(write(tmp_path / "blank", " \n\n"))


@given(st.integers(1, 300), st.floats(0, 0.4), st.floats(0, 0.4), st.integers(0, 9))
def test_a_random_split_loses_nothing(n, validation, test, seed):
    parts = random_split(n, validation, test, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert [len(part) for part in parts[1:]] == [int(n * validation), int(n * test)]
    for a, b in zip(parts, random_split(n, validation, test, seed), strict=True):
        np.testing.assert_array_equal(a, b)


WORDS = Tokens("words", ["a", "b"])
TASK = Classification(WORDS, ("yes", "no"))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Tokens("lines"), ValueError, "units are 'lines'"),
        (lambda: Tokens("bytes", ["a"]), ValueError, "bytes are their own"),
        (lambda: Tokens("words", ["a", ""]), TypeError, r"entries\[1\] is ''"),
        (lambda: Tokens("characters", ["ab"]), ValueError, r"entries\[0\] is 'ab'"),
        (lambda: Tokens("words", ["a", "b", "a"]), ValueError, "'a' twice"),
        (lambda: Tokens.from_texts("abc"), TypeError, "texts are a str"),
        (lambda: Tokens.from_texts(["a"], min_count=0), ValueError, "min_count is 0"),
        (lambda: WORDS.decode([3]), ValueError, r"ids\[0\] is 3"),
        (lambda: Classification(WORDS, ("a",)), ValueError, "at least two"),
        (lambda: Classification(WORDS, ("a", "a")), ValueError, "different"),
        (lambda: TASK.classes(["yes", "maybe"]), ValueError, r"labels\[1\] is 'maybe', .* 'yes', 'no'"),
        (lambda: TASK.sequences(["a", " "]), ValueError, r"texts\[1\] is ' '"),
        (lambda: random_split(10, 0.5, 0.5), ValueError, "nothing is left"),
        (lambda: random_split(10, -1), ValueError, "validation is -1"),
    ],
)
def test_what_cannot_be_is_one_error(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "damage",
    [
        None,
        [],
        {"task": "nonsense"},
        {"task": ["classify"]},
        {**TASK.to_dict(), "labels": "yes"},
        {**TASK.to_dict(), "labels": [1, 2]},
        {**TASK.to_dict(), "labels": ["x"]},
        {**TASK.to_dict(), "text": 3},
        {**TASK.to_dict(), "tokens": None},
        {**TASK.to_dict(), "tokens": {"units": "words", "entries": [1], "lower": False}},
        {**TASK.to_dict(), "tokens": {"units": ["words"], "entries": [], "lower": False}},
        {**TASK.to_dict(), "tokens": {"units": "words", "entries": [], "lower": 1}},
    ],
)
def test_a_damaged_task_is_a_value_error(damage):
    with pytest.raises(ValueError, match=r" (are|is|hold|holds|none) "):
        task_from_dict(damage)


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n"])
def test_a_delimiter_is_one_character(tmp_path, delimiter):
    with pytest.raises(ValueError, match=r"delimiter is .*, but one character"):
        read_table(write(tmp_path / "table.csv", "a,b\n1,2\n"), delimiter=delimiter)


def test_digits_with_a_line_between_are_text(tmp_path):
    """Python reads 1_000 as a number; whoever writes a table does not."""
    with pytest.raises(ValueError, match="line 2: column 'a' holds '1_000', but numbers"):
        read_table(write(tmp_path / "table.csv", "a,b\n1_000,2\n")).numbers("a")


@pytest.mark.parametrize("units", ["words", "characters", "bytes"])
def test_what_is_no_text_is_named(units):
    with pytest.raises(TypeError, match="text is a NoneType, but a str"):
        Tokens(units).encode(None)
    with pytest.raises(TypeError, match="texts are a str, but a list"):
        Classification(Tokens(units), ("a", "b")).sequences("abc")


def encodings():
    import encodings
    import pkgutil

    return sorted(name for _, name, _ in pkgutil.iter_modules(encodings.__path__) if name != "aliases")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of unicode_escape
@pytest.mark.parametrize("encoding", [*encodings(), "rot13", "no such", "\0", ""])
@pytest.mark.parametrize("data", [b"a,b\n1,2\n", bytes(range(256)), b"xn--\xff\n\\N{", b"\xff\xfe"])
def test_every_encoding_reads_or_is_one_clear_error(encoding, data, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    for read in (read_table, read_lines):
        try:
            read(path, encoding)
        except ValueError as error:
            assert type(error) is ValueError  # noqa: PT017
            assert str(path) in str(error) or "encoding is" in str(error)  # noqa: PT017

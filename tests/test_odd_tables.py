"""A table of tables as people have them: what each gives, or the one error that it gets."""

import tracemalloc

import numpy as np
import pytest

from rnncore.data import read_table
from rnncore.data.fields import BLOCK, Fields, NotNumber, numbers_of

NAN = float("nan")

# What is in the file, the options, and the numbers of column a; or the error.
FILES = {
    "commas": ("a,b\n1,x\n2.5,y\n", {}, [1, 2.5]),
    "semicolons": ("a;b\n1;x\n2.5;y\n", {}, [1, 2.5]),
    "tabs": ("a\tb\n1\tx\n", {}, [1]),
    "bars": ("a|b\n1|x\n", {}, [1]),
    "a delimiter that is told": ("a:b\n1:x\n", {"delimiter": ":"}, [1]),
    "sep= of a spreadsheet": ("sep=;\na;b,c\n1;x\n", {}, [1]),
    "sep= after a mark": ("\ufeffsep=,\r\na,b\r\n1,x\r\n", {}, [1]),
    "SEP= and a blank line": ("SEP=|\n\na|b\n1|x\n", {}, [1]),
    "blank lines first": ("\n  \na,b\n1,x\n", {}, [1]),
    "blank lines between": ("a,b\n\n1,x\n   \n2,y\n", {}, [1, 2]),
    "Windows line ends": ("a,b\r\n1,x\r\n", {}, [1]),
    "old Macintosh line ends": ("a,b\r1,x\r2,y\r", {}, [1, 2]),
    "no last line end": ("a,b\n1,x", {}, [1]),
    "quoted numbers": ('a,b\n"1","x"\n', {}, [1]),
    "quoted delimiters": ('a,b\n1,"x,y"\n', {}, [1]),
    "quoted line ends": ('a,b\n1,"x\ny"\n2,z\n', {}, [1, 2]),
    "quotes in quotes": ('a,b\n1,"say ""x"""\n', {}, [1]),
    "spaces around": ("a ,b\n 1 ,x\n", {}, [1]),
    "empty fields": ("a,b\n,x\n2,y\n", {}, [NAN, 2]),
    "NA and its kin": ("a\n1\nNA\n#N/A\nn/a\nNaN\nnull\nNone\n-\n?\n<NA>\n", {}, [1] + [NAN] * 9),
    "errors of a spreadsheet": ("a,b\n1,x\n#DIV/0!,x\n#VALUE!,x\n#REF!,x\n", {}, [1] + [NAN] * 3),
    "rows of nothing at the end": ("a;b\n1;x\n;\n;\n", {}, [1]),
    "a row of nothing between": ("a;b\n1;x\n;\n2;y\n", {}, [1, NAN, 2]),
    "decimal commas": ("a;b\n1,5;x\n-2,25;y\n", {}, [1.5, -2.25]),
    "decimal commas alone": ("a\n1,5\n2,5\n", {}, [1.5, 2.5]),
    "points for thousands": ("a\n1.234,5\n7,25\n1.345.678,9\n2.345", {}, [1234.5, 7.25, 1345678.9, 2345]),
    "commas for thousands": ('a,b\n"1,234.5",x\n"12,345,678",y\n7,z\n', {}, [1234.5, 12345678, 7]),
    "spaces for thousands": ("a;b\n1 234,5;x\n2\u00a0345\u202f678,0;y\n", {}, [1234.5, 2345678]),
    "apostrophes for thousands": ("a;b\n1'234.5;x\n2\u2019345;y\n", {}, [1234.5, 2345]),
    "a comma that is told": ("a;b\n1,234;x\n", {"decimal": ","}, [1.234]),
    "a point that is told": ('a,b\n"1,234",x\n', {"decimal": "."}, [1234]),
    "exponents": ("a,b\n1e3,x\n-2.5E-1,y\n", {}, [1000, -0.25]),
    "a minus of typesetters": ("a,b\n\u22125,x\n", {}, [-5]),
    "a mark of UTF-8": ("\ufeffa,b\n1,x\n", {}, [1]),
    "UTF-16 with its mark": ("a,b\n1,ü\n".encode("utf-16"), {}, [1]),
    "UTF-16, the other end first": (b"\xfe\xff" + "a,b\n1,ü\n".encode("utf-16-be"), {}, [1]),
    "UTF-16 without a mark, told": ("a,b\n1,ü\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, [1]),
    "cp1252, told": ("a,b\n1,Müller\n".encode("cp1252"), {"encoding": "cp1252"}, [1]),
    "a field of 200,000 letters": ("a,b\n1," + "x" * 200_000 + "\n", {}, [1]),
    "a name of no letters": (",a\n0,1\n", {}, [1]),
    "years as names": ("a,2019\n1,2\n", {}, [1]),
    "cp1252, not told": ("a,b\n1,Müller\n".encode("cp1252"), {}, "not utf-8.*0xfc.*such as cp1252"),
    "UTF-16 without a mark": ("a,b\n1,x\n".encode("utf-16-le"), {}, "UTF-16"),
    "no header": ("1.5,2\n2.5,3\n", {}, "begins with the numbers '1.5', '2'; expected a line with the names"),
    "a comma that could be either": ("a;b\n1,234;x\n", {}, "line 2: .* '1,234', where the comma could"),
    "text among numbers": ("a,b\n1,x\nsoon,y\n", {}, "line 3: column 'a' holds 'soon', but numbers"),
    "a unit": ("a,b\n5 kg,x\n", {}, "line 2: column 'a' holds '5 kg'"),
    "both signs in one column": ("a;b\n1,5;x\n2.5,1;y\n", {}, "line 3: column 'a' holds '2.5,1'"),
    "infinite": ("a,b\ninf,x\n", {}, "line 2: column 'a' holds 'inf'"),
    "digits with a line between": ("a,b\n1_000,x\n", {}, "line 2: column 'a' holds '1_000'"),
    "a field too few": ("a,b\n1\n", {}, "line 2 has 1 fields, but the header has 2"),
    "a field too many, after sep=": ("sep=;\na;b\n1;2;3\n", {}, "line 3 has 3 fields, but the header has 2"),
    "a point where commas are decimal": ("a;b\n1,5;x\n2.5;y\n", {}, "line 3: column 'a' holds '2.5'"),
    "one name twice": ("a,a\n1,2\n", {}, "more than one column 'a'"),
    "an open quote": ('a,b\n1,"x\n', {}, "cannot be read"),
    "nothing": ("", {}, "no rows"),
    "a header alone": ("a,b\n", {}, "no rows"),
    "all missing": ("a,b\nNA,x\n", {}, "'a' holds no number, all of it is missing"),
    "another column": ("b\n1\n", {}, "no column 'a'; its columns are 'b'"),
    "a decimal sign of another kind": ("a\n1\n", {"decimal": ";"}, "decimal is ';'"),
}  # fmt: skip


def test_there_are_forty():
    assert len(FILES) >= 40


@pytest.mark.parametrize("kind", FILES)
def test_an_odd_table_gives_what_a_person_expects(tmp_path, kind):
    content, options, wanted = FILES[kind]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            read_table(path, **options).numbers("a")
    else:
        np.testing.assert_array_equal(read_table(path, **options).numbers("a"), wanted)


def test_fields_are_a_sequence_of_texts_whatever_their_number():
    texts = [f"{i} ü\n" for i in range(2 * BLOCK + 100)]
    texts[BLOCK + 5] = "with \0 in it"
    fields = Fields(texts)
    assert fields == texts
    assert list(fields) == texts
    assert [fields[i] for i in (0, BLOCK + 5, -1)] == [texts[i] for i in (0, BLOCK + 5, -1)]
    assert fields[:3] == texts[:3]
    assert fields[BLOCK - 1 : BLOCK + 9] == texts[BLOCK - 1 : BLOCK + 9]
    with pytest.raises(IndexError):
        fields[len(texts)]
    fields.cut(BLOCK + 7)
    assert fields == texts[: BLOCK + 7]


def test_a_doubt_in_one_block_is_settled_in_another():
    fields = Fields(["1,234"] * BLOCK + ["7,5"])
    np.testing.assert_array_equal(numbers_of(fields)[[0, -1]], [1.234, 7.5])
    with pytest.raises(NotNumber) as error:
        numbers_of(Fields(["1"] * BLOCK + ["1,234"]))
    assert error.value.place == BLOCK


def test_text_takes_less_memory_than_the_numbers_in_it(tmp_path):
    path = tmp_path / "long.csv"
    rows = 40 * BLOCK
    values = np.random.default_rng(0).standard_normal((rows, 2)).round(4)
    path.write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in values.tolist()) + "\n")
    tracemalloc.start()
    try:
        table = read_table(path)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < values.nbytes
    assert most < 1.6 * values.nbytes
    np.testing.assert_array_equal(table.numbers("b"), values[:, 1])

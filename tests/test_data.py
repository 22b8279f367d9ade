"""Text: vocabularies are bijections, streams lose nothing, files are read or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.data import TextStream, Vocabulary, builtin_text, read_text, split

texts = st.text(st.characters(), min_size=1, max_size=200)


@st.composite
def streams(draw):
    """Ids, a batch size that they suffice for, and where documents begin or None."""
    size = draw(st.integers(2, 150))
    documents = None
    predictions = size - 1
    if draw(st.booleans()):
        documents = sorted(draw(st.sets(st.integers(0, size - 1), max_size=8)))
        predictions = size - len({0, *documents})
    if not predictions:
        size, documents, predictions = 2, None, 1
    return np.arange(size, dtype=np.int32), draw(st.integers(1, predictions)), documents


@given(texts)
def test_decoding_inverts_encoding(text):
    vocabulary = Vocabulary.from_text(text)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert ids.shape == (len(text),)
    assert vocabulary.decode(ids) == text


@given(texts)
def test_a_vocabulary_is_its_list(text):
    vocabulary = Vocabulary.from_text(text)
    assert Vocabulary(vocabulary.to_list()) == vocabulary
    assert [vocabulary.decode([i]) for i in range(len(vocabulary))] == vocabulary.to_list()


@given(st.permutations("abcdefgxyz"))
def test_ids_follow_the_order_that_was_given(characters):
    vocabulary = Vocabulary(characters)
    assert vocabulary.encode("".join(characters)).tolist() == list(range(10))


@given(texts, st.characters(), st.integers(0))
def test_an_unknown_character_is_named_with_its_place(text, character, place):
    text = text.replace(character, "") or ("a" if character != "a" else "b")
    vocabulary = Vocabulary.from_text(text)
    place %= len(text) + 1
    with pytest.raises(ValueError) as error:
        vocabulary.encode(text[:place] + character + text[place:])
    assert f"text[{place}] is {character!r}" in str(error.value)


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ([], "empty"),
        (["a", "bc"], r"characters\[1\] is 'bc'"),
        (["a", 1], r"characters\[1\] is 1"),
        ("aba", "'a' twice"),
    ],
)
def test_what_is_no_vocabulary_is_refused(characters, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(characters)


@pytest.mark.parametrize("ids", [[-1], [0, 3], [[0]], [2**40]])
def test_decoding_refuses_what_is_no_id(ids):
    with pytest.raises(ValueError, match="ids"):
        Vocabulary("abc").decode(ids)
    with pytest.raises(TypeError, match="float64"):
        Vocabulary("abc").decode([0.5])


@given(streams())
def test_every_character_but_the_first_of_a_document_is_a_target_once(stream):
    ids, rows, documents = stream
    source = TextStream(ids, rows, documents)
    (batch,) = source.batches(0)
    steps = len(batch.x)
    lengths = np.full(rows, steps) if batch.lengths is None else batch.lengths
    valid = np.arange(steps)[:, None] < lengths
    firsts = {0, *(documents or ())}
    # In reading order: row after row.
    assert batch.target.T[valid.T].tolist() == [i for i in ids.tolist() if i not in firsts]
    assert source.predictions == valid.sum() == len(ids) - len(firsts)
    assert lengths.max() - lengths.min() <= 1
    assert batch.x.flags.c_contiguous
    assert batch.target.flags.c_contiguous


@given(streams())
def test_a_stream_is_read_on_except_where_it_starts_anew(stream):
    """x is the target's predecessor; each step's x is the last step's target unless a document begins."""
    ids, rows, documents = stream
    (batch,) = TextStream(ids, rows, documents).batches(0)
    lengths = np.full(rows, len(batch.x)) if batch.lengths is None else batch.lengths
    for b in range(rows):
        x, target = batch.x[: lengths[b], b], batch.target[: lengths[b], b]
        assert (target == x + 1).all()
        anew = np.zeros(len(x), bool) if batch.starts is None else batch.starts[: lengths[b], b]
        assert (anew[1:] | (x[1:] == target[:-1])).all()
        if documents is not None:
            assert anew.tolist() == [i in {0, *documents} for i in x.tolist()]


def test_padding_is_a_valid_id():
    (batch,) = TextStream(np.arange(8, dtype=np.int32), 4).batches(0)
    assert batch.lengths.tolist() == [2, 2, 2, 1]
    assert batch.x.max() < 8
    assert batch.target.max() < 8


def test_a_stream_is_the_same_in_every_epoch_and_ends():
    source = TextStream(np.arange(9, dtype=np.int32), 2)
    assert len(source) == len(list(source.batches(0))) == 1
    assert next(source.batches(5)) is next(source.batches(0))
    assert list(source.batches(0, start=1)) == []


@pytest.mark.parametrize(
    ("ids", "rows", "documents", "message"),
    [
        (np.arange(4), 4, None, "3 characters.*batch_size 4"),
        (np.arange(4), 2, [0, 1, 2, 3], "0 characters"),
        (np.arange(4), 0, None, "batch_size is 0"),
        (np.arange(0), 1, None, "0 characters"),
        (np.arange(4).reshape(2, 2), 1, None, r"shape \(2, 2\)"),
        (np.arange(9), 1, [3, 2], "documents begin at 3, 2"),
        (np.arange(9), 1, [9], "documents begin at 9"),
        (np.arange(9), 1, [-1, 2], "documents begin at -1"),
        (np.arange(9), 1, [0.5], "documents are float64"),
    ],
)
def test_a_stream_says_what_it_cannot_take(ids, rows, documents, message):
    with pytest.raises(ValueError, match=message):
        TextStream(ids, rows, documents)


@pytest.mark.parametrize("ids", [np.zeros(5), "text", [1, 2, 3], None])
def test_a_stream_wants_integers(ids):
    with pytest.raises(TypeError, match="ids are"):
        TextStream(ids, 1)


@given(st.text(max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_splitting_loses_nothing(text, validation, test):
    if validation + test >= 1:
        with pytest.raises(ValueError, match=r"validation|test"):
            split(text, validation, test)
        return
    parts = split(text, validation, test)
    assert "".join(parts) == text
    assert len(parts[1]) == int(len(text) * validation)
    assert len(parts[2]) == int(len(text) * test)


def test_text_is_read_with_one_kind_of_line_end(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n\xc3\xa9")
    assert read_text(path) == "one\ntwo\nthree\né"


def test_text_that_cannot_be_read_is_one_error(tmp_path):
    path = tmp_path / "text"
    with pytest.raises(OSError, match="text"):
        read_text(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="text is empty"):
        read_text(path)
    path.write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match="text is not UTF-8 text: byte 3 is 0xff"):
        read_text(path)
    with pytest.raises(OSError, match=str(tmp_path)):
        read_text(tmp_path)


def test_the_builtin_text_is_long_and_the_same_each_time():
    text = builtin_text()
    assert text == builtin_text()
    assert len(text) > 300_000
    assert "The Python" in text

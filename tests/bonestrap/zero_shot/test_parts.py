"""Texts of classes, scaling, the gate, the classifier of latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.text import TextError
from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.alignment import held_out_classes
from bonestrap.zero_shot.classifier import fit_classifier, semantic
from bonestrap.zero_shot.gate import Example, Votes, fit_gate
from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.scaling import Scaling
from bonestrap.zero_shot.texts import ClassTexts, built_in, class_texts, grouped, load, same_size, save
from shards.sources import synthetic
from shards.sources.datasets import ntu, nw_ucla, pku_mmd, sbu

CLASSES = {
    "ntu60": ntu.ACTIONS[:60], "ntu120": ntu.ACTIONS, "nw-ucla": tuple(nw_ucla.ACTIONS.values()), "sbu": sbu.ACTIONS,
    "pku-mmd": pku_mmd.ACTIONS, "synthetic": synthetic.SYNTHETIC,
}  # fmt: skip


@pytest.mark.parametrize("dataset", CLASSES)
def test_every_class_has_a_description_of_its_own(dataset: str) -> None:
    found = class_texts(dataset, CLASSES[dataset], "both")
    assert [each[0] for each in found] == list(CLASSES[dataset])
    texts = [text for each in found for text in each[1:]]
    if dataset != "pku-mmd":  # whose picking up has two names in our file of NTU's classes
        assert len(set(texts)) == len(texts)
    assert all(4 <= len(text.split()) <= 30 for text in texts)


def test_descriptions_of_the_recordings_tables(recordings_root: Path) -> None:
    for folder, name in (("ui_prmd", "ui-prmd"), ("bandai", "bandai")):
        table = (recordings_root / "corpus" / folder / "table.csv").read_text().splitlines()[1:]
        assert {line.split(",")[1] for line in table} == set(built_in(name))


def test_two_classes_of_one_name() -> None:
    with pytest.raises(TextError, match="two classes are called 'wave': give every class a name of its own"):
        class_texts("lab", ("wave", "bow", "wave"), "names")
    with pytest.raises(TextError, match="there are no descriptions of lab: write a file"):
        class_texts("lab", ("wave", "bow"), "descriptions")


def test_features_of_texts_are_averaged_or_kept(tmp_path: Path) -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    mean = grouped(features, [2, 1], average=True)
    np.testing.assert_allclose(mean.features, [[0.5**0.5, 0.5**0.5], [0.5**0.5, 0.5**0.5]], atol=1e-6)
    kept = grouped(features, [2, 1], average=False)
    assert kept.owner.tolist() == [0, 0, 1] and kept.of([1, 0]).owner.tolist() == [0, 1, 1]
    save(tmp_path / "x.npy", kept, ("a", "b"), {})
    again = load(tmp_path / "x.npy", ("a", "b"))
    assert again.owner.tolist() == [0, 0, 1, 1] and torch.allclose(again.means, kept.means)
    with pytest.raises(TextError, match="describes other classes: 'c' has no text there"):
        load(tmp_path / "x.npy", ("a", "c"))
    with pytest.raises(TextError, match="have 2 features, and the model was aligned with texts of 3"):
        same_size(features, 3, "these texts")


def test_scaling_against_numpy() -> None:
    rows = np.random.default_rng(0).normal(3, 2, (50, 6)).astype(np.float32)
    scaled = Scaling.fitted(torch.from_numpy(rows), scaled=True)(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(scaled, (rows - rows.mean(0)) / rows.std(0), atol=1e-5)
    assert torch.equal(
        Scaling.fitted(torch.from_numpy(rows), scaled=False)(torch.from_numpy(rows)), torch.from_numpy(rows)
    )


@pytest.mark.parametrize("count", [40, 400])
def test_wide_features_are_projected_on_principal_components(count: int) -> None:
    rows = np.random.default_rng(0).normal(1, 1, (count, 300)) * np.linspace(3, 0.1, 300)
    found = Scaling.fitted(torch.from_numpy(rows).float(), scaled=True)(torch.from_numpy(rows).float()).double().numpy()
    centred = rows - rows.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = (centred @ axes[:256].T)[:, : min(count - 1, 256)]
    found = found[:, : expected.shape[1]]
    scale = np.linalg.norm(found) / np.linalg.norm(expected)
    np.testing.assert_allclose(np.abs(found) / scale, np.abs(expected), atol=5e-3)


def test_the_classifier_against_adam() -> None:
    """The written-out gradient gives what autograd and torch's Adam give."""
    torch.manual_seed(0)
    model = SADVAE(SADVAEConfig(semantic=5, style=2, samples=30), 7, 6)
    texts = ClassTexts(torch.nn.functional.normalize(torch.randn(4, 6), dim=1), torch.tensor([0, 1, 1, 2]))
    found = fit_classifier(model, texts, seed=3)
    rows = [int(k) for first, n in ((0, 1), (1, 2), (3, 1)) for k in (first + np.arange(30) % n)]
    latent = model.text(texts.features[rows])
    noise = torch.randn(90, 5, generator=torch.Generator().manual_seed(3))
    z = (latent.mean + (latent.logvar / 2).exp() * noise).detach()
    layer = torch.nn.Linear(5, 3).double()
    with torch.no_grad():
        for part in layer.parameters():
            part.zero_()
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(z.double()), torch.arange(3).repeat_interleave(30)).backward()
        optimizer.step()
    x = semantic(model, torch.randn(9, 7))
    torch.testing.assert_close(found.logits(x), layer(x.double()).float().detach(), atol=1e-5, rtol=0)


def test_held_out_classes_are_seen_ones() -> None:
    for held, kept in held_out_classes(7, hidden=3, seed=0):
        assert len(held) == 3 and sorted(held + kept) == list(range(7))
    assert all(len(held) == 2 for held, _ in held_out_classes(4, hidden=3, seed=0))
    with pytest.raises(ValueError, match="3 seen classes are too few to choose on"):
        held_out_classes(3, hidden=2, seed=0)


def test_the_gate_learns_which_side_a_recording_is_of() -> None:
    """The seen classifier is sure of seen recordings, the unseen one of unseen ones: a rule that nothing else gives."""
    generator = torch.Generator().manual_seed(0)

    def example(rows: int) -> Example:
        is_seen = torch.arange(rows) % 3 > 0
        sure, unsure = torch.tensor([4.0, 0, 0]), torch.zeros(3)
        noise = torch.randn(rows, 3, generator=generator) * 0.3
        seen = torch.where(is_seen[:, None], sure, unsure) + noise
        return Example(Votes(torch.where(is_seen[:, None], unsure, sure)[:, :2] + noise[:, :2], seen), is_seen)

    gate = fit_gate([example(60), example(60)])
    asked = example(90)
    assert (gate.is_seen(asked.votes) == asked.is_seen).float().mean() > 0.95
    predicted = gate.predict(asked.votes)
    assert ((predicted < 3) == gate.is_seen(asked.votes)).all() and predicted.max() <= 4

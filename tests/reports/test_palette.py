"""Colours that colour-blind readers tell apart, on light and on dark pages."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from reports.html import ASSETS
from reports.palette import DARK, DARK_MUTED, MUTED, OKABE_ITO, style_sheet, themed

# Machado, Oliveira and Fernandes (2009), table 1, severity 1: what a dichromat sees of linear RGB.
SEEN = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(colour: str) -> np.ndarray:
    """sRGB to linear RGB."""
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson (2020): distances here are about what eyes see."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    cones.append([0.0883024619, 0.2817188376, 0.6299787005])
    out = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099]]
    out.append([0.0259040371, 0.7827717662, -0.808675766])
    return np.array(out) @ np.cbrt(np.array(cones) @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("colours", [OKABE_ITO, DARK], ids=["light", "dark"])
def test_models_are_told_apart(colours: tuple[str, ...], eyes: str) -> None:
    places = [oklab(np.array(SEEN[eyes]) @ linear(colour)) for colour in colours]
    nearest = min(np.linalg.norm(one - other) for one, other in itertools.combinations(places, 2))
    assert nearest > 0.07  # three times a just noticeable difference


@pytest.mark.parametrize(("colours", "scheme"), [((*OKABE_ITO, *MUTED), 0), ((*DARK, *DARK_MUTED), 1)])
def test_colours_are_seen_on_their_card(colours: tuple[str, ...], scheme: int) -> None:
    card = re.findall(r"--card: (#\w+);", (ASSETS / "page.css").read_text())[scheme]
    light = {colour: np.dot([0.2126, 0.7152, 0.0722], linear(colour)) + 0.05 for colour in (card, *colours)}
    contrast = {colour: max(light[card], light[colour]) / min(light[card], light[colour]) for colour in colours}
    assert min(contrast.values()) > (1.35 if scheme == 0 else 3)  # published colours on white; 3 is WCAG's for graphics


def test_pages_name_colours_by_variables() -> None:
    light, dark = style_sheet().splitlines()
    assert themed("#E69F00") == "var(--c1)" and "--c1: #E69F00;" in light and f"--c1: {DARK[1]};" in dark
    assert themed("#123456") == "#123456"

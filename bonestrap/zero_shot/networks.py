"""The networks of SA-DVAE (Li et al. 2024, section 3): two variational autoencoders and a discriminator.

Legend: B rows of a batch, X skeleton features, Y text features, R semantic units, V style units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bonestrap.zero_shot import SADVAEConfig

GAIN = 0.5  # of the uniform Xavier weights that everything begins with, as in the authors' code


class Gaussian(NamedTuple):
    """A diagonal normal distribution a row."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """One draw a row from standard normal noise of the same shape: a number of its own for every dimension."""
        return self.mean + (self.logvar / 2).exp() * noise


class SADVAE(nn.Module):
    """Linear encoders and decoders, and a discriminator of two layers (none without style units).

    Text features of length 1 are brought to the scale of skeleton features (`TextScale`): as they are, the mean squared
    error of D of them is below 1/D, and the KL divergence outweighs it.
    """

    text_centre: Tensor
    text_factor: Tensor

    def __init__(self, config: SADVAEConfig, skeleton: int, text: int) -> None:
        """`skeleton` and `text` are the numbers of features."""
        super().__init__()
        self.config = config
        self.register_buffer("text_centre", torch.zeros(text))
        self.register_buffer("text_factor", torch.ones(()))
        latent = config.semantic + config.style
        self.encode_x, self.decode_x = nn.Linear(skeleton, 2 * latent), nn.Linear(latent, skeleton)
        self.encode_y, self.decode_y = nn.Linear(text, 2 * config.semantic), nn.Linear(config.semantic, text)
        inner = max(1, latent // 4)
        self.discriminator = (
            nn.Sequential(nn.Linear(latent, inner), nn.ReLU(), nn.Linear(inner, 1)) if config.style else None
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, GAIN)
                nn.init.zeros_(layer.bias)

    def forward(self, loss: Callable[..., Tensor], *inputs: object) -> Tensor:
        """A loss of this network: what `torch.func.functional_call` calls."""
        return loss(self, *inputs)

    def skeleton(self, x_BX: Tensor) -> tuple[Gaussian, Gaussian]:
        """Semantic (B, R) and style (B, V) distributions; of one row without its axis as well."""
        mean, logvar = self.encode_x(x_BX).chunk(2, dim=-1)
        units = (self.config.semantic, self.config.style)
        (semantic_mean, style_mean), (semantic_logvar, style_logvar) = mean.split(units, -1), logvar.split(units, -1)
        return Gaussian(semantic_mean, semantic_logvar), Gaussian(style_mean, style_logvar)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Weights of before texts were scaled have no scale: these texts stay as they are."""
        state_dict.setdefault(f"{prefix}text_centre", torch.zeros_like(self.text_centre))
        state_dict.setdefault(f"{prefix}text_factor", torch.ones_like(self.text_factor))
        super()._load_from_state_dict(state_dict, prefix, *others)

    def scaled_text(self, y_BY: Tensor) -> Tensor:
        """What is encoded, and what decoders are to give, of text features as they are."""
        return (y_BY - self.text_centre) * self.text_factor

    def text(self, y_BY: Tensor) -> Gaussian:
        """The semantic distribution (B, R) of text features as they are."""
        return Gaussian(*self.encode_y(self.scaled_text(y_BY)).chunk(2, dim=1))

    def skeleton_from(self, semantic_BR: Tensor, style_BV: Tensor) -> Tensor:
        """Skeleton features (B, X) of latents; the semantic ones may be a text's."""
        return self.bounded(self.decode_x(torch.cat((semantic_BR, style_BV), 1)))

    def text_from(self, semantic_BR: Tensor) -> Tensor:
        """Scaled text features (B, Y) of latents, which may be a skeleton's."""
        return self.bounded(self.decode_y(semantic_BR))

    def bounded(self, decoded: Tensor) -> Tensor:
        return decoded.relu() if self.config.decoder == "relu" else decoded

    def together(self, semantic_BR: Tensor, style_BV: Tensor) -> Tensor:
        """The discriminator's logit (B,) that both latents are of one recording."""
        assert self.discriminator is not None
        logit: Tensor = self.discriminator(torch.cat((style_BV, semantic_BR), 1)).squeeze(1)
        return logit

    def autoencoders(self) -> list[nn.Parameter]:
        """All weights but the discriminator's."""
        layers = (self.encode_x, self.decode_x, self.encode_y, self.decode_y)
        return [weights for layer in layers for weights in layer.parameters()]

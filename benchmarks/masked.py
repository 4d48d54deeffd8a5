#!/usr/bin/env python3
"""One step of masked prediction: ours beside one as the public code does it, and beside what the machine can do.

The public way encodes both places of every clip, absent persons as zeros, and computes attention step by step. All
variants see the same clips with the body mix of NTU-60 and run by turns. "Of the limit" is the fraction of the measured
matrix rate at which the counted operations of the bodies that are there would take the measured time. The rows below
it are ours with a lighter decoder and with latent targets: what they save in work. docs/results/nw_ucla.md would say
what they cost in accuracy.

Examples:
  python -m benchmarks.masked
  python -m benchmarks.masked --width 0.25 --depth 4 --frames 16 --batch 64
"""

from __future__ import annotations

import argparse
import types

import torch
from torch import Tensor

from benchmarks.rates import Table
from benchmarks.step import Given, Step, by_turns, clips, matrix_rate, padded, whole
from bonestrap.augment import ClipConfig
from bonestrap.clips import Clips
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.layouts import NTU25
from bonestrap.methods import LatentConfig, MAMPConfig, Task
from bonestrap.methods.masking import MaskedConfig
from bonestrap.optim import AdamW
from bonestrap.transformer import Attention

PUBLISHED = "public way fp32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0, help="of the encoder")
    parser.add_argument("--depth", type=int, default=8, help="blocks of the encoder")
    parser.add_argument("--frames", type=int, default=120, help="frames of a clip")
    parser.add_argument("--batch", type=int, default=8, help="clips")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--seconds", type=float, default=60.0, help="in all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = SkeletonTransformerConfig(width=options.width, depth=options.depth)
    torch.manual_seed(0)
    view = clips(options.batch, options.frames, device)
    dense = padded(view).flatten(0, 1)
    both = Clips(dense, torch.arange(options.batch, device=device).repeat_interleave(2), options.batch)
    mamp, light = MAMPConfig(), MAMPConfig(decoder=1)
    half = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    chosen: dict[str, tuple[MaskedConfig, bool]] = {"ours fp32": (mamp, False), "ours bf16": (mamp, True)}
    lighter = {"decoder of 1": light, "latent targets": LatentConfig(), "latent, no decoder": LatentConfig(decoder=0)}
    chosen |= {f"{name} {'bf16' if half else 'fp32'}": (config, half) for name, config in lighter.items()}
    variants = {PUBLISHED: step(encoder, mamp, both, device, half=False, explicit=True)}
    variants |= {who: step(encoder, config, view, device, half=bf16) for who, (config, bf16) in chosen.items()}
    work = {who: operations(encoder, config, view) for who, (config, _) in chosen.items()}
    work[PUBLISHED] = work["ours fp32"]
    rates = {dtype: matrix_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(f"{name}, torch {torch.__version__}\n", flush=True)
    rows = Table(("variant".ljust(24), "ms a step", "clips/s", "ratio", "G multiply-adds", "of the limit"))
    times = by_turns(variants, options.seconds, device)
    for who, seconds in times.items():
        limit = work[who] / rates[torch.bfloat16 if "bf16" in who else torch.float32]
        figures = (seconds * 1e3, options.batch / seconds, times[PUBLISHED] / seconds, work[who] / 1e9)
        rows.row(who, *(f"{figure:.2f}" for figure in figures), f"{limit / seconds:.1%}")


def step(
    encoder: SkeletonTransformerConfig,
    config: MaskedConfig,
    view: Clips,
    device: torch.device,
    *,
    half: bool,
    explicit: bool = False,
) -> Step:
    """A whole step: forward, backward, optimizer, teacher. `explicit` computes attention step by step."""
    clip = ClipConfig(frames=view.joints.shape[1])
    method = config.build(encoder.build(NTU25, clip), Task(NTU25, clip, steps=1000, classes=0)).to(device)
    method.view = Given(view)  # type: ignore[assignment]
    if explicit:
        for module in method.modules():
            if isinstance(module, Attention):
                module.forward = types.MethodType(attention, module)  # type: ignore[method-assign]
    return whole(method, AdamW().build(method), views=1, device=device, half=half)


def attention(self: Attention, x_NKD: Tensor) -> Tensor:
    """What the fused kernel computes, one operation after the other."""
    n, k, d = x_NKD.shape
    q, keys, v = self.qkv(x_NKD).view(n, k, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
    shares = ((q @ keys.transpose(2, 3)) * (d // self.heads) ** -0.5).softmax(3)
    out: Tensor = self.projection((shares @ v).transpose(1, 2).reshape(n, k, d))
    return out


def operations(encoder: SkeletonTransformerConfig, config: MaskedConfig, view: Clips) -> float:
    """Multiply-adds of one step on the bodies that are there; a backward pass takes twice its forward pass."""
    bodies, frames, joints, _ = view.joints.shape
    tokens = frames // encoder.patch * joints
    seen, d = tokens - config.masked(tokens), encoder.units
    patch = encoder.patch * NTU25.coordinates
    if config.decoder:
        w = max(1, round(d * config.decoder_width / encoder.heads)) * encoder.heads
        outputs = d if isinstance(config, LatentConfig) else patch
        trained = encoded(encoder, seen, d, patch) + seen * d * w + config.decoder * block(tokens, w)
        trained += tokens * w * outputs
    else:
        trained = encoded(encoder, tokens, d, patch)
        trained += tokens * d * (d if isinstance(config, LatentConfig) else patch)
    teacher = encoded(encoder, tokens, d, patch) if isinstance(config, LatentConfig) else 0
    return bodies * (3 * trained + teacher)


def encoded(encoder: SkeletonTransformerConfig, tokens: int, units: int, patch: int) -> int:
    """Of one body's way through the encoder."""
    return tokens * patch * units + encoder.depth * block(tokens, units)


def block(tokens: int, units: int) -> int:
    """Of a block's linear layers, and of attention's two products."""
    return 12 * tokens * units**2 + 2 * tokens**2 * units


if __name__ == "__main__":
    main()

"""Encoders: clips in, features out. A plain dictionary names those that come with Bonestrap."""

from bonestrap.encoders.config import EncoderConfig
from bonestrap.encoders.convtransformer import ConvTransformerConfig
from bonestrap.encoders.skeleton_transformer import SkeletonTransformerConfig
from bonestrap.encoders.stgcn import STGCNConfig

ENCODERS: dict[str, type[EncoderConfig]] = {
    config.kind: config for config in (STGCNConfig, SkeletonTransformerConfig, ConvTransformerConfig)
}

__all__ = ["ENCODERS", "ConvTransformerConfig", "EncoderConfig", "STGCNConfig", "SkeletonTransformerConfig"]

"""Learning methods. A plain dictionary names those that come with Bonestrap."""

from bonestrap.methods.byol import BYOLConfig
from bonestrap.methods.config import Input, MethodConfig, Task
from bonestrap.methods.dino import DINOConfig
from bonestrap.methods.distill import DistillConfig
from bonestrap.methods.latent import LatentConfig
from bonestrap.methods.mamp import MAMPConfig
from bonestrap.methods.moco import MoCoConfig
from bonestrap.methods.stars import STARSConfig
from bonestrap.methods.supervised import SupervisedConfig
from bonestrap.methods.vicreg import VICRegConfig

METHODS: dict[str, type[MethodConfig]] = {
    config.kind: config
    for config in (
        *(BYOLConfig, MAMPConfig, LatentConfig, STARSConfig, MoCoConfig, DINOConfig),
        *(VICRegConfig, SupervisedConfig, DistillConfig),
    )
}

__all__ = [
    "METHODS", "BYOLConfig", "DINOConfig", "DistillConfig", "Input", "LatentConfig", "MAMPConfig", "MethodConfig",
    "MoCoConfig", "STARSConfig", "SupervisedConfig", "Task", "VICRegConfig",
]  # fmt: skip

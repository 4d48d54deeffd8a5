"""Learning methods. A plain dictionary names those that come with Bonestrap."""

from bonestrap.methods.byol import BYOLConfig
from bonestrap.methods.config import Input, MethodConfig, Task
from bonestrap.methods.distill import DistillConfig
from bonestrap.methods.mamp import MAMPConfig
from bonestrap.methods.supervised import SupervisedConfig

METHODS: dict[str, type[MethodConfig]] = {
    config.kind: config for config in (BYOLConfig, MAMPConfig, SupervisedConfig, DistillConfig)
}

__all__ = [
    "METHODS", "BYOLConfig", "DistillConfig", "Input", "MAMPConfig", "MethodConfig", "SupervisedConfig", "Task",
]  # fmt: skip

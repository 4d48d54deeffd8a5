"""Knowledge distillation from a fine-tuned teacher to a compact student, no labels (Moliner et al., section 3.5)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import DistillConfig
from bonestrap.methods.method import Group, Method
from bonestrap.methods.supervised.method import Classifier
from bonestrap.momentum import batch_norms, commit, moments_size, take_moments, warm_alpha


class Distill(Method):
    """The student matches the teacher's predictions on the same augmented clip (Eq. 6). Labels are never looked at.

    Teacher and student may differ in width and kind of encoder, and in the length of the clips that they were made for:
    each comes with its own pipeline, and both pipelines apply the same draw.
    """

    def __init__(
        self, teacher: Classifier, student: Classifier, config: DistillConfig, *, teacher_view: Pipeline, view: Pipeline
    ):
        super().__init__()
        self.config = config
        self.view, self.teacher_view = view, teacher_view
        self.student = student
        self.teacher = teacher.requires_grad_(False)
        self.register_buffer("moments", torch.zeros(moments_size(batch_norms(student)), dtype=torch.float64))
        self.train()

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.student.encoder

    def shipped_head(self) -> nn.Module:
        return self.student.head

    def parameter_groups(self) -> list[Group]:
        return [Group(list(self.student.named_parameters()))]

    def train(self, mode: bool = True) -> Distill:
        super().train(mode)
        self.teacher.eval()
        return self

    def prepare(self, batch: Batch) -> tuple[Clips, Clips]:
        """The student's clips and the teacher's."""
        recordings = batch.views[0]
        draw = self.view.sample(recordings.size, torch.Generator().manual_seed(batch.seed))
        clips = self.view.apply(recordings, draw)
        same = self.teacher_view.clip == self.view.clip
        return clips, clips if same else self.teacher_view.apply(recordings, draw)

    def losses(self, inputs: tuple[Clips, Clips], branch: Hashable) -> dict[str, Tensor]:
        clips, teacher_clips = inputs
        with torch.no_grad():
            teacher_logits = self.teacher(teacher_clips)
        logits = self.student(clips)
        self.moments += take_moments(batch_norms(self.student))
        agree = (logits.argmax(1) == teacher_logits.argmax(1)).float().mean()
        return {"loss": distillation_loss(logits, teacher_logits, self.config.temperature), "agreement": agree}

    def rates(self, step: int) -> dict[str, float]:
        return {"alpha": warm_alpha(self.config.alpha, step)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        commit(self.moments, [batch_norms(self.student)], rates["alpha"])
        self.moments.zero_()


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the teacher's and the student's softened predictions, mean over the clips (Eq. 6)."""
    teacher = F.softmax(teacher_logits.float() / temperature, dim=1)
    return F.cross_entropy(student_logits.float() / temperature, teacher)

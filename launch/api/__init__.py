"""The commands that train and evaluate, as functions with their names and options; they return objects.

    import bonestrap

    run = bonestrap.pretrain("vicreg", data="packed/nw-ucla", run="runs/pretrained", options={"encoder.width": 0.25})
    teacher = bonestrap.finetune(model=run, data="packed/nw-ucla", run="runs/teacher", labels=0.1)
    print(bonestrap.evaluate("test", model=teacher, data="packed/nw-ucla").figures["accuracy"])

`options` holds whatever else the command line takes, under the same names without dashes: {"schedule.epochs": 20}. The
same call on a run directory resumes there, as the same command does. User errors are ValueErrors of one sentence.
"""

from launch.api.evaluation import Evaluation, evaluate
from launch.api.training import Run, distill, finetune, pretrain

__all__ = ["Evaluation", "Run", "distill", "evaluate", "finetune", "pretrain"]

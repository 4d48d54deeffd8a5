"""A new run that starts from the weights of another: `--init-from`. To go on with the same run is another matter."""

from __future__ import annotations

from pathlib import Path

import torch

from bonestrap import model as models
from bonestrap.methods.byol import BYOL
from distributed.checkpoint import Checkpoints
from launch.cli import UserError


def begin_from(method: BYOL, folder: Path) -> str:
    """Put weights into a method at step 0, and say in words whose they are.

    A run directory with checkpoints gives all networks, from the checkpoint that the held-out probe judged best, or
    the newest; a model directory gives the encoder alone, to the online network and the target. The optimizer and
    every schedule start anew. UserError where there is nothing, or where it does not fit.
    """
    said: list[str] = []
    store = Checkpoints(folder / "checkpoints", keep=1, warn=said.append)
    step = store.best()
    if step is None or store.fault(step):
        step = store.newest()
    try:
        if step is not None:
            method.load_state_dict(store.load(step, torch.device("cpu")).method)
            method.moments.zero_()
            return f"all networks of {store.path(step)}"
        encoder = models.load(folder).encoder.state_dict()
        for network in (method.online, method.target):
            network.encoder.load_state_dict(encoder)
        return f"the encoder of {folder}"
    except models.ModelError as error:
        raise UserError(f"--init-from {folder} holds neither a checkpoint nor a model ({error})") from None
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--init-from {folder} does not fit ({reason}); give the options of that run") from None

"""A new run that starts from the weights of another: `--init-from`. To resume the same run is another matter."""

from __future__ import annotations

from pathlib import Path

import torch

from bonestrap import serialization
from bonestrap.files import misfit
from bonestrap.methods.method import Method
from bonestrap.model import ModelError
from bonestrap.options import UserError
from distributed.checkpoint import Checkpoints


def start_from(method: Method, folder: Path) -> str:
    """Put weights into a method at step 0, and say in words whose they are.

    A run directory with checkpoints gives all networks, from the checkpoint with the best held-out probe, or the
    newest; a model directory gives the encoder alone. The optimizer and every schedule start anew. UserError where
    there is nothing, or where it does not fit.
    """
    said: list[str] = []
    store = Checkpoints(folder / "checkpoints", keep=1, warn=said.append)
    step = store.best()
    if step is None or store.fault(step):
        step = store.newest()
    try:
        if step is not None:
            taken = method.start_from(store.load(step, torch.device("cpu")).method)
            return f"{taken} of {store.path(step)}"
        method.start_from_encoder(serialization.load(folder).encoder.state_dict())
        return f"the encoder of {folder}"
    except ModelError as error:
        raise UserError(f"--init-from {folder} holds neither a checkpoint nor a model ({error})") from None
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"--init-from {folder} does not fit ({misfit(error)}): give the options of that run; where it has other "
            "joints, --pool.skeleton brings these recordings into its layout"
        ) from None

"""Run records of older versions in today's names, so that their runs resume and their models are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bonestrap.augment import CONSERVATIVE
from bonestrap.config import to_json
from bonestrap.optim import SGD, Schedule

FORMAT = 2  # of run.json; without one, the first


def upgraded(result: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run record of any format. What is not of format 1 is returned as it is."""
    out = dict(result)
    if "protocol" not in out:
        return out
    out["split"] = out.pop("protocol")
    if "recipe" in out:
        return _pretraining(out)
    view = to_json(CONSERVATIVE)
    width = out["encoder"].get("width")
    out["encoder"] = {} if width is None else {"width": width}
    if "scratch" in out:
        scratch = out["scratch"]
        pace = {"encoder_rate": 1.0, "frozen": 0.0} if scratch else {k: out[k] for k in ("encoder_rate", "frozen")}
        out["method"] = {"kind": "supervised", **out["method"], "pretrained": not scratch, **pace, "view": view}
    else:
        out["method"] = {"kind": "distill", **out["method"], "view": view}
    return out


def _pretraining(out: dict[str, Any]) -> dict[str, Any]:
    """BYOL on ST-GCN with SGD, all that there was."""
    schedule = dict(out["schedule"])
    rate, decay = schedule.pop("learning_rate"), schedule.pop("weight_decay")
    out["method"] = {
        "kind": "byol",
        **out["method"],
        "predictor_rate": schedule.pop("predictor_rate"),
        "multiview": out.pop("multiview"),
        "view1": _view(out.pop("view1")),
        "view2": _view(out.pop("view2")),
    }
    out["encoder"] = {"kind": "stgcn", **out["encoder"]}
    out["optimizer"] = to_json(SGD(learning_rate=rate, weight_decay=decay))
    out["schedule"] = {**schedule, "floor": Schedule().floor}
    return out


def _view(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"kind": "resample", "rate": list(told["resample"])},
        {"kind": "shift", "limit": float(told["shift"])},
        {"kind": "crop", "anywhere": told["crop"]},
        {"kind": "smooth", "probability": told["smooth"]},
        {"kind": "drop", "probability": told["drop"]},
        {"kind": "shear", "limit": told["shear"]},
    ]

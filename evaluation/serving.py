"""What MLflow runs to serve a model: raw joints in, class probabilities out, or features where no class was taught.

`launch/register.py` stores a copy of this file and of `bonestrap` beside the weights, and MLflow executes the copies
where the model is loaded: nothing is pickled, and loading still runs code. Requests are float arrays (B, T, M, V, C) as
recorded; an aligned model also takes `texts`, which it ranks instead of its classes. Absent bodies
and joints, and the frames that shorter recordings of a batch lack, are null (NaN).

Legend: B recordings, C coordinates, M bodies, T frames, V joints.
"""

from __future__ import annotations

from typing import Any


def serve() -> None:
    """Tell MLflow, which is loading this file, what predicts."""
    import numpy as np
    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel

    import bonestrap

    class Served(PythonModel):
        def load_context(self, context: Any) -> None:
            self.model = bonestrap.load(context.artifacts["model"])
            # Every stored model has a copy of the code: numba would compile anew, and the first request wait for it.
            self.model.pipeline.fuses = False

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            recordings = list(np.asarray(model_input, dtype=np.float32))
            texts = list((params or {}).get("texts", ()))
            if texts and texts != list(self.model.classes):
                return self.model.predict(recordings, texts=texts).numpy()
            answer = self.model.predict if self.model.classes else self.model.embed
            return answer(recordings).numpy()

    set_model(Served())


serve()

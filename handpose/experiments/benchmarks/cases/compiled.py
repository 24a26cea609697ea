"""Compiled prediction (`torch.compile`), each against the same prepared for prediction and not compiled.

The first call, which compiles, takes minutes on a CPU and is not timed.
"""

from handpose.engine.training import compile_parts
from handpose.experiments.benchmarks.case import Settings, SetUp, Work, case
from handpose.experiments.benchmarks.cases.exported import SYSTEMS
from handpose.models.prediction import prepare_for_prediction


def predicting(name: str, compiled: bool) -> SetUp:
    """The set-up of a form: whole predictions of a system of `SYSTEMS`."""

    def set_up(settings: Settings) -> Work:
        model, batch = SYSTEMS[name](settings)
        prepare_for_prediction(model)
        if compiled:
            compile_parts(model)
        return Work(lambda: model.predict(batch).joints_3d, batch.require('frame_valid').shape[1])

    return set_up


def register(name: str) -> None:
    """Registers a system compiled, with the same as it is as its reference."""
    about = f'{SYSTEMS[name].__doc__} Prediction compiled'
    made = case('frame', when='asked', name=f'{name}_compiled', about=about)(predicting(name, True))
    plain = predicting(name, False)
    plain.__doc__ = 'Prepared for prediction, not compiled.'
    made.reference(plain)


for system in ('htt', 'deformer', 'pdtm'):
    register(system)

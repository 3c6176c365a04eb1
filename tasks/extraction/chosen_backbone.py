"""The backbone that section features of params.yaml describes, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.video.backbone_names import ONNX, ending_of, is_own_model
from tasks.machine.device import pick_device
from tasks.params.sections import Params

if TYPE_CHECKING:
    from ssvh_model.video.backbones import Backbone


def chosen_backbone(params: Params) -> Backbone:
    """Load it; where the engine or the precision is left to the machine, with what is best here.

    Raises:
        UserError: as `load_backbone` or `load_own_backbone`, or there is no such device.
    """
    from ssvh_model.video.backbones import load_backbone, load_own_backbone
    from ssvh_model.video.engines.engine import best_engine, best_precision_of
    from ssvh_model.video.own_models import OwnModel, read_model_file

    settings, device = params.features, pick_device(params.running.device)
    onnx = ending_of(settings.backbone) == ONNX
    engine = best_engine(device, onnx=onnx) if settings.engine == "auto" else settings.engine
    precision = best_precision_of(engine, device) if settings.precision == "auto" else settings.precision
    if is_own_model(settings.backbone):
        path, own = Path(settings.backbone), settings.own
        model = OwnModel(
            path.name,
            read_model_file(path),
            own.mean,
            own.std,
            own.colours,
            own.architecture or "",
            params.running.trust_torchscript,
        )
        return load_own_backbone(model, size=settings.size, device=device, engine=engine, precision=precision)
    return load_backbone(
        settings.backbone, size=settings.size, device=device, engine=engine, precision=precision
    )

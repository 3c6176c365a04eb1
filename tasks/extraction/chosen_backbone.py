"""The backbone that section features of params.yaml describes, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.machine.device import pick_device
from tasks.params.sections import Params

if TYPE_CHECKING:
    from ssvh_model.video.backbones import Backbone


def chosen_backbone(params: Params) -> Backbone:
    """Load it; where the engine or the precision is left to the machine, with what is best here.

    Raises:
        UserError: as `load_backbone`, or there is no such device.
    """
    from ssvh_model.video.backbones import load_backbone
    from ssvh_model.video.engines.engine import best_engine, best_precision_of

    settings, device = params.features, pick_device(params.running.device)
    engine = best_engine(device) if settings.engine == "auto" else settings.engine
    precision = best_precision_of(engine, device) if settings.precision == "auto" else settings.precision
    return load_backbone(
        settings.backbone, size=settings.size, device=device, engine=engine, precision=precision
    )

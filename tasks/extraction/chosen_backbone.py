"""The backbone that section features of params.yaml describes, on this machine or another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.video.backbone_names import ONNX, ending_of, is_own_model
from tasks.machine.device import pick_device

if TYPE_CHECKING:
    import torch

    from ssvh_model.video.backbones import Backbone
    from ssvh_model.video.own_models import OwnModel
    from tasks.params.sections import Params


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone that is not loaded yet, with all that another machine needs to load it.

    Attributes:
        name: as in params.yaml.
        size: side of the square that a frame is scaled to, pixels.
        engine: what runs it; "auto" is what is best where it is loaded.
        precision: of its arithmetic; "auto" likewise.
        own: the user's own model; None for a backbone of a package.
    """

    name: str
    size: int
    engine: str
    precision: str
    own: OwnModel | None

    @classmethod
    def of(cls, params: Params) -> BackboneChoice:
        """What params.yaml says; the file of an own model is read.

        Raises:
            UserError: as `read_model_file` and `OwnModel`.
        """
        from ssvh_model.video.own_models import OwnModel, read_model_file

        settings, model = params.features, None
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
        return cls(settings.backbone, settings.size, settings.engine, settings.precision, model)

    @property
    def for_processors(self) -> bool:
        """Whether no GPU would run it."""
        return self.engine not in ("auto", "torch") or ending_of(self.name) == ONNX

    def load(self, device: torch.device) -> Backbone:
        """Load it; where the engine or the precision is left to the machine, with what is best here.

        Raises:
            UserError: as `load_backbone` or `load_own_backbone`.
        """
        from ssvh_model.video.backbones import load_backbone, load_own_backbone
        from ssvh_model.video.engines.engine import best_engine, best_precision_of

        onnx = ending_of(self.name) == ONNX
        engine = best_engine(device, onnx=onnx) if self.engine == "auto" else self.engine
        precision = best_precision_of(engine, device) if self.precision == "auto" else self.precision
        if self.own is None:
            return load_backbone(self.name, size=self.size, device=device, engine=engine, precision=precision)
        return load_own_backbone(self.own, size=self.size, device=device, engine=engine, precision=precision)


def chosen_backbone(params: Params) -> Backbone:
    """Load it on this machine.

    Raises:
        UserError: as `BackboneChoice`, or there is no such device.
    """
    return BackboneChoice.of(params).load(pick_device(params.running.device))

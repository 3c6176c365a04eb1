"""Where the picture of one video lies in that of another: another crop shows the same thing larger and
elsewhere.

The mean frames of both videos, and where they change, are held over each other in many sizes and at every
place. The likeness at a place is the normalised correlation over what both show, for all places at once by
the Fourier transform (Padfield, "Masked object registration in the Fourier domain", IEEE Transactions on
Image Processing 21, 2012).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from ssvh_model.copies.compared_frames import SIDE, ComparedFrames

COARSE, FINE = 22, 40  # sides of the pictures that are searched, pixels
SIZES = tuple(1.07**power for power in range(-7, 8))  # 0.62 to 1.61
SHAPES = (0.88, 0.94, 1.0, 1.06, 1.14)  # width beside height
AROUND = (0.96, 1.0, 1.04)  # of a size and a shape that were found, for the finer search
KEPT = 3  # places that are looked at more closely
LEAST_SHARED = 0.4  # of the smaller picture
LEAST_ENERGY = 0.5  # that a shared part must have, of what the whole picture has there on average
STEPS, LEARNING_RATE = 12, 0.006  # of the last refinement


@dataclass(frozen=True)
class Placement:
    """A place of the first picture in the second one: its point y, 0 to 1, lies at height * y + top there, x
    likewise.

    Attributes:
        likeness: normalised correlation over what both show, at most 1.
        height, width: of the first picture, in the second one's.
        top, left: in the second one's height and width.
    """

    likeness: float
    height: float
    width: float
    top: float
    left: float

    @property
    def shared(self) -> float:
        """Share of the smaller picture that both show, 0 to 1."""
        rows = min(1.0, self.top + self.height) - max(0.0, self.top)
        columns = min(1.0, self.left + self.width) - max(0.0, self.left)
        return max(0.0, rows) * max(0.0, columns) / min(1.0, self.height * self.width)

    def near(self, other: Placement) -> bool:
        """Whether a finer search would lead to the same place."""
        return (
            abs(self.height / other.height - 1) <= 0.1
            and abs(self.top - other.top) <= 0.08
            and abs(self.left - other.left) <= 0.08
        )


# As the pictures are.
UNMOVED = Placement(0.0, 1.0, 1.0, 0.0, 0.0)


@dataclass(frozen=True)
class PlacedVideo:
    """A video's frames with what a search for places needs of them, made once."""

    frames: ComparedFrames

    @cached_property
    def sizes(self) -> torch.Tensor:
        """Spectra of its picture in all sizes and shapes, of which one is laid over the other."""
        return _spectra(_resized(self.frames.still, COARSE), _sizes(1.0, 1.0, SIZES, SHAPES))

    @cached_property
    def ground(self) -> torch.Tensor:
        """Spectra of its picture as it is, over which others are laid."""
        return _spectra(_resized(self.frames.still, COARSE), [(1.0, 1.0)])[0]

    @cached_property
    def mirrored(self) -> PlacedVideo:
        """The same video, left and right changed."""
        return PlacedVideo(self.frames.mirrored())


def placements(first: PlacedVideo, second: PlacedVideo) -> list[Placement]:
    """Likely places of the first video's picture in the second's, the likeliest first; at most `KEPT`."""
    everywhere = _sizes(1.0, 1.0, SIZES, SHAPES)
    kept: list[Placement] = []
    for place in _best_places(first.sizes, second.ground, everywhere, COARSE):
        if not any(place.near(other) for other in kept):
            kept.append(place)
        if len(kept) == KEPT:
            break
    ground = _spectra(_resized(second.frames.still, FINE), [(1.0, 1.0)])[0]
    found = []
    for place in kept:
        sizes = _sizes(place.height, place.width, AROUND, AROUND)
        spectra = _spectra(_resized(first.frames.still, FINE), sizes)
        found.append(_best_places(spectra, ground, sizes, FINE)[0])
    return sorted(found, key=lambda place: -place.likeness)


def placed(frames: torch.Tensor, place: Placement) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of the first video as the second one shows them.

    Args:
        frames: [n, SIDE, SIDE] float32.
        place: of the first picture in the second.

    Returns:
        [n, SIDE, SIDE] float32, and which pixels the first video has, [SIDE, SIDE] float32, 0 or 1.
    """
    return _laid(frames, _numbers(place))


def refined(first: torch.Tensor, second: torch.Tensor, place: Placement) -> Placement:
    """The place near a known one where frames that belong together are most alike, by gradient.

    Args:
        first, second: frames of the same moments, [n, SIDE, SIDE] float32.
        place: to begin with.

    Returns:
        The place; its likeness is that of these frames.
    """
    where = _numbers(place).requires_grad_()
    optimizer = torch.optim.Adam([where], lr=LEARNING_RATE)
    best, best_place = -1.0, where.detach().clone()
    for _ in range(STEPS):
        laid, shown = _laid(first, where)
        ground = second * shown
        energy = laid.square().sum() * ground.square().sum()
        likeness = (laid * ground).sum() / torch.sqrt(energy + 1e-3)
        if likeness.item() > best:
            best, best_place = likeness.item(), where.detach().clone()
        optimizer.zero_grad()
        (-likeness).backward()
        optimizer.step()
    height, width, top, left = best_place.tolist()
    return Placement(best, math.exp(height), math.exp(width), top, left)


def _numbers(place: Placement) -> torch.Tensor:
    """A place as `_laid` takes it: logarithms of height and width, top and left, [4]."""
    return torch.tensor([math.log(place.height), math.log(place.width), place.top, place.left])


def _laid(frames: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `placed`; the place is as `_numbers` has it."""
    pixels = (torch.arange(SIDE) + 0.5) / SIDE
    down = (pixels - where[2]) / where[0].exp() * 2 - 1
    across = (pixels - where[3]) / where[1].exp() * 2 - 1
    grid = torch.stack([across.expand(SIDE, -1), down[:, None].expand(-1, SIDE)], dim=-1)
    laid = F.grid_sample(frames[:, None], grid.expand(len(frames), -1, -1, -1), align_corners=False)[:, 0]
    shown = (down.abs() < 1).float()[:, None] * (across.abs() < 1).float()
    return laid, shown


def _sizes(
    height: float, width: float, sizes: Sequence[float], shapes: Sequence[float]
) -> list[tuple[float, float]]:
    """Heights and widths around one of each."""
    return [(height * size, width * size * shape) for size in sizes for shape in shapes]


def _pixels(side: int, size: float) -> int:
    return max(6, round(side * size))


def _resized(pictures: torch.Tensor, height: int, width: int | None = None) -> torch.Tensor:
    size = (height, width or height)
    return F.interpolate(pictures[None], size=size, mode="bilinear", antialias=True)[0]


def _spectra(still: torch.Tensor, sizes: Sequence[tuple[float, float]]) -> torch.Tensor:
    """Spectra of pictures [2, side, side] in some sizes, of their energy and of the area that they cover.

    Returns:
        [sizes, 4, P, P / 2 + 1] complex64; P is the power of two into which two pictures fit beside each
        other.
    """
    side = still.shape[1]
    room = _room(side)
    laid = torch.zeros(len(sizes), 4, room, room)
    for target, (height, width) in zip(laid, sizes, strict=True):
        rows, columns = _pixels(side, height), _pixels(side, width)
        picture = _resized(still, rows, columns)
        target[:2, :rows, :columns] = picture
        target[2, :rows, :columns] = picture.square().sum(dim=0)
        target[3, :rows, :columns] = 1
    return torch.fft.rfft2(laid)


def _room(side: int) -> int:
    largest = _pixels(side, max(SIZES) * max(SHAPES) * (max(AROUND) ** 2 if side == FINE else 1))
    return 2 ** math.ceil(math.log2(side + largest))


def _likeness(
    spectra: torch.Tensor, ground: torch.Tensor, sizes: Sequence[tuple[float, float]], side: int
) -> torch.Tensor:
    """Likeness at every place, [sizes, P, P]; -1 where too little is shared."""
    conjugate = spectra.conj()
    products = torch.stack(
        [
            (conjugate[:, :2] * ground[:2]).sum(dim=1),
            conjugate[:, 2] * ground[3],
            conjugate[:, 3] * ground[2],
            conjugate[:, 3] * ground[3],
        ],
        dim=1,
    )
    room = _room(side)
    both, first, second, area = torch.fft.irfft2(products, s=(room, room)).unbind(dim=1)
    area = area.round()
    # Both pictures have a mean square of 1 in each of their two parts.
    first, second = (torch.maximum(energy, LEAST_ENERGY * 2 * area) for energy in (first, second))
    whole = torch.tensor([float(_pixels(side, height) * _pixels(side, width)) for height, width in sizes])
    enough = area >= LEAST_SHARED * whole.clamp(max=side * side)[:, None, None]
    return torch.where(enough, both / torch.sqrt(first * second + 1e-6), -1.0)


def _best_places(
    spectra: torch.Tensor, ground: torch.Tensor, sizes: Sequence[tuple[float, float]], side: int
) -> list[Placement]:
    """The likeliest place of each size, the likeliest first."""
    room = _room(side)
    values, cells = _likeness(spectra, ground, sizes, side).flatten(1).max(dim=1)
    found = []
    for which in values.argsort(descending=True).tolist():
        row, column = divmod(int(cells[which]), room)
        # The transform goes round: what lies above or left of the second picture comes out at the other end.
        row, column = (place - room if place > room // 2 else place for place in (row, column))
        height, width = sizes[which]
        found.append(Placement(float(values[which]), height, width, row / side, column / side))
    return found

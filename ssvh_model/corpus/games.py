"""Random play of one game from a random starting point, as pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ssvh_model.corpus.game_list import Game
from ssvh_model.errors import UserError

TICKS_PER_SECOND = 60  # of the emulated console
# In ticks. With a new action every tick they would cancel each other out, and nobody would move.
SHORTEST_HOLD, LONGEST_HOLD = 4, 20


def play(
    game: Game,
    *,
    mode: int,
    difficulty: int,
    seed: tuple[int, ...],
    warm_up: tuple[int, int],
    ticks: np.ndarray,
) -> np.ndarray:
    """Play at random and take pictures.

    The starting point is a random number of ticks of random play. Actions are held for a random time. A game
    that is over starts again. What happens at a tick depends on the seed only, not on when pictures are
    taken, so that two uploads of one recording at different speeds show the same play.

    Args:
        seed: of the play; the emulator itself always starts from the same state.
        warm_up: fewest and most ticks of play before the starting point.
        ticks: when to take pictures, in 1/60 s (ticks) since the starting point; ascending, at least 0,
            repetitions allowed.

    Returns:
        [len(ticks), height, 160, 3] uint8, RGB; the height is 210 to 250, the game's own.

    Raises:
        UserError: `ale-py` is not installed.
    """
    emulator, start = _emulator(game.name)
    emulator.restoreSystemState(start)
    emulator.setMode(mode)
    emulator.setDifficulty(difficulty)
    emulator.reset_game()
    rng = np.random.default_rng(seed)
    first = int(rng.integers(warm_up[0], warm_up[1] + 1))
    actions = _actions(rng, emulator.getMinimalActionSet(), first + int(ticks[-1]) + 1)
    # Many games draw their figures in every other tick only, so a picture is the brighter of two ticks, as
    # usual since Mnih et al., Nature 2015.
    wanted = set((first + ticks).tolist())
    seen: dict[int, np.ndarray] = {}
    for tick, action in enumerate(actions):
        before = emulator.getScreenRGB() if tick in wanted else None
        emulator.act(action)
        if before is not None:
            seen[tick] = np.maximum(before, emulator.getScreenRGB())
        if emulator.game_over():
            emulator.reset_game()
    return np.stack([seen[first + tick] for tick in ticks.tolist()])


def check_installed() -> None:
    """Raise what `play` would raise if the emulator is missing.

    Raises:
        UserError: `ale-py` is not installed.
    """
    _ale()


def _actions(rng: np.random.Generator, legal: list[Any], ticks: int) -> list[Any]:
    """One action a tick, each held for a random time."""
    most = -(-ticks // SHORTEST_HOLD)
    # A stream each: with one for both, the actions would depend on how many are asked for.
    for_choices, for_holds = rng.spawn(2)
    choices = for_choices.integers(len(legal), size=most)
    holds = for_holds.integers(SHORTEST_HOLD, LONGEST_HOLD + 1, size=most)
    return [legal[choice] for choice in choices.repeat(holds)[:ticks]]


@cache
def _emulator(name: str) -> tuple[Any, Any]:
    """An emulator with the game loaded, and its state right after that, once in each process.

    Loading takes 0.1 s, as long as playing a clip. Restoring the state makes the emulator as good as new.
    """
    ale = _ale()
    emulator = ale.ALEInterface()
    emulator.setInt("random_seed", 1)
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.loadROM(str(Path(ale.__file__).parent / "roms" / f"{name}.bin"))
    return emulator, emulator.cloneSystemState()


@cache
def _ale() -> Any:
    try:
        import ale_py
    except ImportError as error:
        raise UserError(
            "corpus.source is 'arcade', which needs the package ale-py: install it with pip install -e '.[demo]'"
        ) from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py

"""The games of the demo corpus: what the package `ale-py` ships, without those that do not suit it.

Left out are combat, which ends the process; games for two (joust, warlords, maze_craze, space_war, surround,
flag_capture); and games in which random play shows next to nothing (the board and card games, basic_math,
hangman). Of games with very many modes the first twelve are here, and no mode in which the game is over at
once or the screen stays empty, as in demon_attack's modes for two.

The list stands here, rather than being asked from the emulator, so that planning a corpus needs no emulator
and a newer `ale-py` does not change what a seed means.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Game:
    """One game.

    Attributes:
        name: as `ale-py` spells it.
        modes: the variants of the game, by the number that `setMode` takes.
        difficulties: by the number that `setDifficulty` takes.
    """

    name: str
    modes: tuple[int, ...]
    difficulties: tuple[int, ...]


GAMES: tuple[Game, ...] = (
    Game("adventure", (0, 1, 2), (0, 1, 2, 3)),
    Game("air_raid", (1, 2, 3, 4, 5, 6, 7, 8), (0,)),
    Game("alien", (0, 1, 2, 3), (0, 1, 2, 3)),
    Game("amidar", (0,), (0, 3)),
    Game("assault", (0,), (0,)),
    Game("asterix", (0,), (0,)),
    Game("asteroids", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (0, 3)),
    Game("atlantis", (0, 1, 2, 3), (0,)),
    Game("atlantis2", (0,), (0,)),
    Game("bank_heist", (0, 4, 8, 12, 16, 20, 24, 28), (0, 1, 2, 3)),
    Game("battle_zone", (1, 2, 3), (0,)),
    Game("beam_rider", (0,), (0, 1)),
    Game("berzerk", (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18), (0,)),
    Game("bowling", (0, 2, 4), (0, 1)),
    Game("boxing", (0,), (0, 1, 2, 3)),
    Game("breakout", (0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44), (0, 1)),
    Game("carnival", (0,), (0,)),
    Game("centipede", (22, 86), (0,)),
    Game("chopper_command", (0, 2), (0, 1)),
    Game("crazy_climber", (0, 1, 2, 3), (0, 1)),
    Game("crossbow", (0, 2, 4, 6), (0, 1)),
    Game("darkchambers", (0,), (0,)),
    Game("defender", (1, 2, 3, 4, 5, 6, 7, 8, 9, 16), (0, 1)),
    Game("demon_attack", (1,), (0, 1)),
    Game("donkey_kong", (0,), (0,)),
    Game("double_dunk", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (0,)),
    Game("earthworld", (0,), (0,)),
    Game("elevator_action", (0,), (0,)),
    Game("enduro", (0,), (0,)),
    Game("entombed", (0,), (0, 2)),
    Game("et", (0, 1, 2), (0, 1, 2, 3)),
    Game("fishing_derby", (0,), (0, 1, 2, 3)),
    Game("freeway", (0, 1, 2, 3, 4, 5, 6, 7), (0, 1)),
    Game("frogger", (0, 1, 2), (0, 1)),
    Game("frostbite", (0, 2), (0,)),
    Game("galaxian", (1, 2, 3, 4, 5, 6, 7, 8, 9), (0, 1)),
    Game("gopher", (0, 2), (0, 1)),
    Game("gravitar", (0, 1, 2, 3, 4), (0,)),
    Game("haunted_house", (0, 1, 2, 3, 4, 5, 6, 7, 8), (0, 1)),
    Game("hero", (0, 1, 2, 3, 4), (0,)),
    Game("human_cannonball", (0, 1, 2, 3, 4, 5, 6, 7), (0, 1)),
    Game("ice_hockey", (0, 2), (0, 1, 2, 3)),
    Game("jamesbond", (0, 1), (0,)),
    Game("journey_escape", (0,), (0, 1)),
    Game("kaboom", (0,), (0,)),
    Game("kangaroo", (0, 1), (0,)),
    Game("keystone_kapers", (0,), (0,)),
    Game("king_kong", (0, 1, 2, 3), (0,)),
    Game("klax", (0, 1, 2), (0,)),
    Game("koolaid", (0,), (0,)),
    Game("krull", (0,), (0,)),
    Game("kung_fu_master", (0,), (0,)),
    Game("laser_gates", (0,), (0,)),
    Game("lost_luggage", (0, 1), (0, 1)),
    Game("mario_bros", (0, 2, 4, 6), (0,)),
    Game("miniature_golf", (0,), (0, 1)),
    Game("montezuma_revenge", (0,), (0,)),
    Game("mr_do", (0, 1, 2, 3), (0,)),
    Game("ms_pacman", (0, 1, 2, 3), (0,)),
    Game("name_this_game", (8, 24, 40), (0, 1)),
    Game("pacman", (0, 1, 2, 3, 4, 5, 6, 7), (0, 1)),
    Game("phoenix", (0,), (0,)),
    Game("pitfall", (0,), (0,)),
    Game("pitfall2", (0,), (0,)),
    Game("pong", (0, 1), (0, 1, 2, 3)),
    Game("pooyan", (10, 30, 50, 70), (0,)),
    Game("private_eye", (0, 1, 2, 3, 4), (0, 1, 2, 3)),
    Game("qbert", (0,), (0, 1)),
    Game("riverraid", (0,), (0, 1)),
    Game("road_runner", (0,), (0,)),
    Game("robotank", (0,), (0,)),
    Game("seaquest", (0,), (0, 1)),
    Game("sir_lancelot", (0,), (0,)),
    Game("skiing", (0,), (0,)),
    Game("solaris", (0,), (0,)),
    Game("space_invaders", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (0, 1)),
    Game("star_gunner", (0, 1, 2, 3), (0,)),
    Game("superman", (0,), (0, 1, 2, 3)),
    Game("tennis", (0, 2), (0, 1, 2, 3)),
    Game("tetris", (0,), (0,)),
    Game("tic_tac_toe_3d", (0, 1, 2, 3, 5, 6, 7, 8), (0, 2)),
    Game("time_pilot", (0,), (0, 1, 2)),
    Game("trondead", (0,), (0, 1)),
    Game("turmoil", (0, 1, 2, 3, 4, 5, 6, 7, 8), (0,)),
    Game("tutankham", (0, 4, 8, 12), (0,)),
    Game("up_n_down", (0,), (0, 1, 2, 3)),
    Game("venture", (0,), (0, 1, 2, 3)),
    Game("video_cube", (0, 1, 2, 100, 101, 102, 200, 201, 202, 300, 301, 302), (0, 1)),
    Game("video_pinball", (0, 2), (0, 1)),
    Game("wizard_of_wor", (0,), (0, 1)),
    Game("word_zapper", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (0, 1, 2, 3)),
    Game("yars_revenge", (0, 32, 64, 96), (0, 1)),
    Game("zaxxon", (0, 8, 16, 24), (0,)),
)

LEFT_OUT: tuple[str, ...] = (
    "backgammon", "basic_math", "blackjack", "casino", "combat", "flag_capture", "hangman", "joust", "maze_craze",
    "othello", "space_war", "surround", "video_checkers", "video_chess", "warlords",
)  # fmt: skip

"""Kill the real commands at random moments, run them again, and see whether all is as if nothing had
happened.

`make crash KILLS=20 SEED=1`. A scenario takes a command, starts it, hits it at a random moment, starts it
again, at once and unchanged, and so on, until it is left alone. What it then leaves must equal, bit for bit,
what an undisturbed run left. `--only SEED/NUMBER` repeats the scenario that a failure names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from tests.crash.beside import called_beside
from tests.crash.checks import open_on, problems
from tests.crash.commands import COMMANDS, Command, Outcome
from tests.crash.templates import NEW_CLIPS, Templates, removed_ids
from tests.crash.victims import GENTLE, MARK, REFUSED, VICTIMS, Tree
from tests.projects import Project

SECONDS_TO_END = 1800  # of a command that was hit, or is left alone, on a busy machine
SECONDS_TO_APPEAR = 15.0  # that a victim is waited for, before any other is hit
SECONDS_REFUSED = (0.5, 8.0)
SECONDS_TO_BE_MISSED = 600
EARLY = 15.0  # seconds: kills before are counted apart
DISK_MEGABYTES = 1500
# Drawn as often as this says; the whole pipeline takes longest.
WEIGHTS = {
    "run": 3,
    "run, by two trainers": 1,
    "train on a worker": 1,
    "tune, two workers": 1,
    "extract, two workers": 2,
}
OTHER_WEIGHT = 4


@dataclass
class Hit:
    """What happened to a command once.

    Attributes:
        victim: name in `VICTIMS`.
        after: seconds from its start.
    """

    victim: str
    after: float


@dataclass
class Scenario:
    """One command from its first start to its undisturbed end.

    Attributes:
        seed: that repeats it, "campaign's seed/number".
        command: its name.
        hits: in their order.
        failures: what was not as it should be; empty if it ended well.
        output: of the last start.
    """

    seed: str
    command: str
    hits: list[Hit] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    output: str = ""

    @property
    def kills(self) -> list[Hit]:
        """Hits that killed something."""
        return [hit for hit in self.hits if hit.victim not in GENTLE]


class Campaign:
    """Runs scenarios in a folder of its own.

    Args:
        folder: where projects are made; kept projects of failures too.
        say: takes a line.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._templates = Templates(folder, say)
        self._undisturbed: dict[str, tuple[Outcome, int, float]] = {}
        self._services: dict[str, Any] = {}
        self._apis: dict[str, str] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Campaign:
        import mlflow  # noqa: F401 - once, for all that is called in forks of this process

        self._stack.enter_context(_small_disk(self._templates.place, self._say))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, command: Command, seed: str) -> Scenario:
        """Run a scenario to its end."""
        expected, status, duration = self._undisturbed_run(command)
        random = Random(seed)
        scenario = Scenario(seed, command.name)
        project = self._project(command)
        mark = f"{seed}-{os.getpid()}"
        try:
            with self._reader(command, project) as reader:
                self._hit(command, project, mark, random, duration, scenario)
                root, output = self._left_alone(command, project, mark)
                if reader is not None:
                    scenario.failures += _reader_problems(reader)
            scenario.output = output
            if root.returncode != status:
                scenario.failures.append(f"run again, it ended with status {root.returncode}, not {status}")
            else:
                scenario.failures += _differences(expected, called_beside(command.outcome, project))
            scenario.failures += problems(project, Tree(mark, root.pid))
        except subprocess.TimeoutExpired as late:
            scenario.failures.append(f"was not over after {late.timeout:g} s")
        except Exception as error:
            scenario.failures.append(f"{type(error).__name__}: {error}")
        if scenario.failures:
            self._keep(scenario)
        for process in Tree(mark, 0).processes():
            process.kill()
        return scenario

    def _hit(
        self,
        command: Command,
        project: Project,
        mark: str,
        random: Random,
        duration: float,
        scenario: Scenario,
    ) -> None:
        for _ in range(random.randint(command.most_kills // 4, command.most_kills)):
            victim = random.choice(command.victims)
            moment = duration * random.random() ** command.haste
            with self._started(command, project, mark) as (root, log):
                began = time.monotonic()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    root.wait(timeout=moment)
                    # It was faster than usual, or what it did before is kept. A pipeline has nothing more to
                    # do then; others are hit sooner from now on.
                    if command.per_pipeline:
                        return
                    duration = time.monotonic() - began
                    continue
                tree = Tree(mark, root.pid)
                while not (struck := self._strike(victim, command, tree, random, project.folder)):
                    if root.poll() is not None:
                        break
                    if time.monotonic() - began > moment + SECONDS_TO_APPEAR:
                        victim = "any one"
                    time.sleep(0.1)
                if not struck:  # it ended before there was one of that kind
                    if command.per_pipeline:
                        return
                    continue
                scenario.hits.append(Hit(victim, time.monotonic() - began))
                root.wait(timeout=SECONDS_TO_END)
                scenario.output = log.read_text(errors="replace")

    def left_open(self) -> list[str]:
        """Runs on the server of the workers that nobody has closed, once it has had time to miss their
        heartbeats.
        """
        if "prefect" not in self._services:
            return []
        until = time.monotonic() + SECONDS_TO_BE_MISSED
        while (left := open_on(self._apis["prefect"])) and time.monotonic() < until:
            time.sleep(5)
        return left

    def _strike(self, victim: str, command: Command, tree: Tree, random: Random, folder: Path) -> bool:
        """Hit; false if there is nothing of that kind to be hit."""
        if victim != REFUSED:
            return VICTIMS[victim](tree, random, folder)
        for name in command.services:
            self._services[name].stop()
        time.sleep(random.uniform(*SECONDS_REFUSED))
        for name in command.services:
            self._services[name].start()
        return True

    def _left_alone(
        self, command: Command, project: Project, mark: str
    ) -> tuple[subprocess.Popen[bytes], str]:
        with self._started(command, project, mark) as (root, log):
            root.wait(timeout=SECONDS_TO_END)
            output = log.read_text(errors="replace")
        for words in command.afterwards:
            output += project.run(*words)
        return root, output

    @contextlib.contextmanager
    def _started(
        self, command: Command, project: Project, mark: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        log = self._folder / "output.log"
        words = list(command.words)
        if "REMOVED" in words:
            place = words.index("REMOVED")
            words[place : place + 1] = removed_ids(project)
        with open(log, "wb") as output:
            root = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=project.folder,
                env={**project.environment, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        yield root, log

    def _project(self, command: Command) -> Project:
        project = self._templates.project(command.template)
        project.set(**(command.changes or {}))
        for service in command.services:
            project.environment |= self._service(service)
        return project

    def _undisturbed_run(self, command: Command) -> tuple[Outcome, int, float]:
        """What is left then, the exit status, and the seconds that it took."""
        if command.name not in self._undisturbed:
            project = self._project(command)
            began = time.monotonic()
            root, output = self._left_alone(command, project, f"undisturbed-{os.getpid()}")
            if root.returncode not in command.statuses:
                raise RuntimeError(f"{command.name} fails undisturbed:\n{output}")
            duration = time.monotonic() - began
            self._say(f"{command.name}, undisturbed: {duration:.0f} s")
            outcome = called_beside(command.outcome, project)
            self._undisturbed[command.name] = outcome, root.returncode, duration
        return self._undisturbed[command.name]

    def _service(self, name: str) -> dict[str, str]:
        """Variables by which a project finds a service that outlives what is killed."""
        if name == "prefect":
            if name not in self._services:
                from tests.services import prefect_service

                server, api = prefect_service(self._folder)
                self._stack.callback(server.stop)
                server.start()
                self._services[name], self._apis[name] = server, api
            return {
                "PREFECT_API_URL": self._apis[name],
                "PREFECT_HOME": str(self._folder / "prefect-client"),
            }
        from tests.postgresql import PostgreSQL, find_programs

        if name not in self._services:
            programs = find_programs()
            assert programs is not None, "needs PostgreSQL's programs initdb and postgres"
            server = PostgreSQL(programs)
            self._stack.callback(server.remove)
            server.start()
            self._services[name] = server
        # A study of its own for every project.
        return {"OPTUNA_STORAGE": self._services[name].create(f"study{time.time_ns()}")}

    @contextlib.contextmanager
    def _reader(self, command: Command, project: Project) -> Iterator[subprocess.Popen[str] | None]:
        if not command.searched:
            yield None
            return
        clip = min((project.folder / NEW_CLIPS).iterdir())
        reader = project.start("tests.crash.reader", str(clip))
        try:
            yield reader
        finally:
            if reader.poll() is None:
                reader.kill()

    def _keep(self, scenario: Scenario) -> None:
        kept = self._folder / "failures" / scenario.seed.replace("/", "-")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self._templates.place, kept, symlinks=True, ignore_dangling_symlinks=True)
        (kept / "scenario.txt").write_text(_told(scenario) + "\n\n" + scenario.output)


def _reader_problems(reader: subprocess.Popen[str]) -> list[str]:
    reader.send_signal(signal.SIGTERM)
    output, _ = reader.communicate(timeout=SECONDS_TO_END)
    return [] if reader.returncode == 0 else [f"a search failed meanwhile: {output[-500:]}"]


def _differences(expected: Outcome, found: Outcome, path: str = "") -> list[str]:
    lines = []
    for key in sorted({*expected, *found}, key=str):
        wanted, there = expected.get(key), found.get(key)
        if isinstance(wanted, dict) and isinstance(there, dict):
            lines += _differences(wanted, there, f"{path}{key}: ")
        elif wanted != there:
            lines.append(f"{path}{key}: {str(there)[:100]} instead of {str(wanted)[:100]}")
    return lines


@contextlib.contextmanager
def _small_disk(place: Path, say: Callable[[str], None]) -> Iterator[None]:
    """A disk of the project's own, which can be filled; where this user may not mount one, none is."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        say("no disk of its own can be mounted here: none is filled")
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def draw(random: Random, commands: Sequence[Command]) -> Command:
    """A command, the short ones more often."""
    weights = [WEIGHTS.get(command.name, OTHER_WEIGHT) for command in commands]
    return random.choices(commands, weights)[0]


def _told(scenario: Scenario) -> str:
    hits = ", ".join(f"{hit.victim} after {hit.after:.1f} s" for hit in scenario.hits) or "nothing"
    lines = [f"{scenario.seed} {scenario.command}: {hits}"]
    return "\n".join([*lines, *(f"    FAILED: {failure}" for failure in scenario.failures)])


def summary(scenarios: Sequence[Scenario], seed: str) -> dict[str, Any]:
    """Counts for the record."""
    pipeline = {command.name for command in COMMANDS if command.per_pipeline}
    hits = [(scenario.command, hit) for scenario in scenarios for hit in scenario.hits]
    kills = [(command, hit) for command, hit in hits if hit.victim not in GENTLE]
    return {
        "seed": seed,
        "scenarios": len(scenarios),
        "kills": len(kills),
        "of_the_pipeline": sum(command in pipeline for command, _ in kills),
        "needed_a_person": [scenario.seed for scenario in scenarios if scenario.failures],
        "kills_by_command": dict(Counter(command for command, _ in kills)),
        "hits_by_victim": dict(Counter(hit.victim for _, hit in hits)),
        "kills_of_the_pipeline_by_victim_and_moment": dict(
            Counter(
                f"{hit.victim}, {'in the first 15 s' if hit.after < EARLY else 'later'}"
                for command, hit in kills
                if command in pipeline
            )
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if no kill needed a person."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="end when so many have been made")
    parser.add_argument("--seed", default="", help="of all random choices; a fresh one if not given")
    parser.add_argument("--only", default="", help="SEED/NUMBER of one scenario, to repeat it")
    parser.add_argument("--command", action="append", help=f"of {', '.join(one.name for one in COMMANDS)}")
    parser.add_argument(
        "--victim", action="append", choices=(*VICTIMS, REFUSED), help="what is hit, instead of all kinds"
    )
    parser.add_argument("--folder", type=Path, help="where to work, and where projects that failed are kept")
    parser.add_argument("--results", type=Path, help="JSON file that the counts are added to")
    options = parser.parse_args(arguments)
    seed = options.only.rpartition("/")[0] or options.seed or str(time.time_ns() % 1_000_000)
    commands = [one for one in COMMANDS if not options.command or one.name in options.command]
    if options.victim:
        commands = [replace(one, victims=tuple(options.victim)) for one in commands]
    folder = options.folder or Path(tempfile.mkdtemp(prefix="crash-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    say(f"seed {seed}, in {folder}")
    scenarios: list[Scenario] = []
    began = time.monotonic()
    with Campaign(folder, say) as campaign:
        number = 0
        while (kills := sum(len(scenario.kills) for scenario in scenarios)) < options.kills:
            number += 1
            name = options.only or f"{seed}/{number}"
            command = draw(Random(name), commands)
            scenarios.append(campaign.run(command, name))
            say(_told(scenarios[-1]))
            made = kills + len(scenarios[-1].kills)
            rate = (time.monotonic() - began) / max(1, made)
            left = max(0, options.kills - made) * rate / 60
            say(f"{made} of {options.kills} kills, {rate:.0f} s each, {left:.0f} minutes left")
            if options.results:
                _record(options.results, summary(scenarios, seed))
            if options.only:
                break
        left_open = campaign.left_open()
    failed = [scenario for scenario in scenarios if scenario.failures]
    print(json.dumps(summary(scenarios, seed), indent=2))
    again = "".join(f" --victim {victim!r}" for victim in options.victim or ())
    again += "".join(f" --command {command!r}" for command in options.command or ())
    for scenario in failed:
        print(
            f"{_told(scenario)}\n    repeat it: python -m tests.crash.campaign --only {scenario.seed}{again}"
        )
    for run in left_open:
        print(f"FAILED: left open on the server of the workers: {run}")
    if not failed and options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(failed or left_open))


def _record(path: Path, counts: dict[str, Any]) -> None:
    """Put the counts of a seed among those of others; a campaign in another process may do so at this
    moment.
    """
    import fcntl

    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        campaigns = json.loads(text)["campaigns"] if text else []
        campaigns = [one for one in campaigns if one["seed"] != counts["seed"]] + [counts]
        total: dict[str, Any] = {
            key: sum(one[key] for one in campaigns) for key in ("scenarios", "kills", "of_the_pipeline")
        }
        total["needed_a_person"] = sum(len(one["needed_a_person"]) for one in campaigns)
        for key in ("kills_by_command", "hits_by_victim", "kills_of_the_pipeline_by_victim_and_moment"):
            total[key] = dict(sum((Counter(one[key]) for one in campaigns), Counter()))
        file.truncate(0)
        file.write(json.dumps({**total, "campaigns": campaigns}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())

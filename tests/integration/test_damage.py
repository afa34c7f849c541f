"""Damaged files: asking for a run again ends with the right bytes or with one line, and so does reading it.

With SOFTPROMPT_THOROUGH in the environment 200 bits are flipped per file, otherwise 20.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from softprompt.errors import UserError
from softprompt.settings import Settings
from softprompt.study import Study
from softprompt.training.train import train_pack
from softprompt.training.tuning import PromptTuning
from tests.conftest import THOROUGH, composed
from tests.integration.small_sweep import ANALYSIS

FLIPS = 200 if THOROUGH else 20
CUTS = 20
QUIET = Console(quiet=True)
CHECKPOINTS = ("last.ckpt", "previous.ckpt")
FILES = (
    "config.yaml",
    "initial.safetensors",
    "prompt.safetensors",
    "metrics.csv",
    *CHECKPOINTS,
    "result.json",
)


@dataclass
class Pair:
    """A sweep of two runs, finished and as it was before the last step."""

    settings: Settings  # of the first run
    sweep: Path  # where the runs belong
    finished: Path  # copies
    unfinished: Path

    def lay(self, state: str) -> tuple[Path, Path]:
        """Put the sweep in a state; returns the folders of its two runs."""
        shutil.rmtree(self.sweep, ignore_errors=True)
        shutil.copytree(getattr(self, state), self.sweep)
        return runs_of(self.sweep)


def runs_of(sweep: Path) -> tuple[Path, Path]:
    first, second = sorted(path for path in sweep.glob("cb/*-seed*") if path.is_dir())
    return first, second


@pytest.fixture(scope="module", autouse=True)
def _no_seconds() -> Iterator[None]:
    """Times in the files would make every repair look different."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(PromptTuning, "_add_time", lambda self: None)
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, data_folder: Path) -> Pair:
    root = tmp_path_factory.mktemp("damage")
    sweep = root / "out" / "two"
    both = [
        composed(
            "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null", "model.dtype=float32",
            "data=superglue_jsonl", f"data.root={data_folder}", f"output_root={root / 'out'}", "trainer=cpu",
            "prompt=random", "trainer.max_steps=3", "trainer.checkpoint_seconds=0", "optim.lr=0.05", f"seed={seed}",
            "sweep=two",
        )
        for seed in (0, 1)
    ]  # fmt: skip
    for settings in both:
        train_pack([settings], QUIET)
    sweep.rename(root / "finished")
    original = PromptTuning.training_step

    def stop(self: PromptTuning, batches: list, index: int) -> object:
        if self.runs[0].order.total_steps == 2:
            raise ConnectionAbortedError
        return original(self, batches, index)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(PromptTuning, "training_step", stop)
        for settings in both:
            with pytest.raises(ConnectionAbortedError):
                train_pack([settings], QUIET)
    sweep.rename(root / "unfinished")
    return Pair(both[0], sweep, root / "finished", root / "unfinished")


def damages(path: Path, other: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Ways to damage a file; `other` is the same file of another run."""
    content, swapped = path.read_bytes(), other.read_bytes()
    generator = random.Random(path.name)
    for i in range(CUTS):
        yield f"cut at {i}/{CUTS}", lambda i=i: path.write_bytes(content[: len(content) * i // CUTS])
    yield "zeroed", lambda: path.write_bytes(bytes(len(content)))
    yield "deleted", path.unlink
    yield "swapped", lambda: path.write_bytes(swapped)
    yield "a folder", lambda: (path.unlink(), path.mkdir())
    for _ in range(FLIPS):
        place, bit = generator.randrange(len(content)), generator.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} flipped", lambda flipped=flipped: path.write_bytes(flipped)


def contents(run: Path) -> dict[str, bytes]:
    """All files of a finished run but its checkpoints, which are not read any more."""
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name not in CHECKPOINTS}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_asked_again_a_damaged_run_is_repaired_or_refused(pair: Pair, state: str, name: str) -> None:
    expected = contents(runs_of(pair.finished)[0])
    run, other = pair.lay(state)
    if not (run / name).exists():
        assert (state, name) == ("unfinished", "result.json")
        return
    refused = []
    total = 0
    for how, damage in damages(run / name, other / name):
        damage()
        total += 1
        try:
            train_pack([pair.settings], QUIET)
        except UserError as error:
            assert "\n" not in str(error) and str(run / name) in str(error), how
            refused.append(how)
        else:
            assert contents(run) == expected, how
        pair.lay(state)
    print(f"{state} {name}: {total - len(refused)} repaired, {len(refused)} refused")
    # Every file follows from the settings and a checkpoint, and there are two checkpoints.
    assert set(refused) <= {"a folder"}


def read(pair: Pair) -> list[object]:
    """All that an analysis reads of a sweep's runs."""
    study = Study(pair.sweep, QUIET, replace(ANALYSIS, sweep=str(pair.sweep)))
    matrices = [prompt.matrix for prompt in study.prompts] + study.initial_matrices
    return [
        study.results,
        study.labels.to_csv(),
        [matrix.tolist() for matrix in matrices],
        study.learning_curves.to_csv(),
        [run.settings for run in study.runs],
    ]


@pytest.mark.parametrize("name", FILES)
def test_an_analysis_of_damaged_files_is_right_or_refused(pair: Pair, name: str) -> None:
    run, other = pair.lay("finished")
    expected = read(pair)
    total = right = 0
    for how, damage in damages(run / name, other / name):
        damage()
        total += 1
        try:
            found = read(pair)
        except UserError as error:
            assert "\n" not in str(error) and str(run) in str(error), how
        else:
            assert found == expected, how
            right += 1
        pair.lay("finished")
    print(f"analysis with a damaged {name}: {right} right, {total - right} refused")
    assert right == (total if name in CHECKPOINTS else 0)

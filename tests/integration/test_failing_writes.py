"""Places that cannot be written, and what a run has written when it fails."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from softprompt.errors import UserError
from softprompt.runs import Run
from softprompt.settings import Settings
from softprompt.training.train import train_pack
from tests.integration.refusal import QUIET, refused


@pytest.mark.parametrize(
    "name", ["config.yaml", "prompt.safetensors", "metrics.csv", "last.ckpt", "result.json"]
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_write_that_fails_is_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Disk full, read-only, no permission, broken: at every file of a run."""
    original = os.fsync

    def fail(descriptor: int) -> None:
        if f".{name}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        assert refused(settings).endswith(f"/{name}: cannot be written ({os.strerror(number)})")
    (run,) = train_pack([settings], QUIET)  # nothing is in the way of another try
    assert run.done and not list(run.path.glob(".*"))


@pytest.mark.parametrize("place", ["file", "a" * 300, "/proc/nowhere", "/dev/null/x"])
def test_an_output_root_that_cannot_be_is_one_line(settings: Settings, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, OSError)) as caught:
        train_pack([replace(settings, output_root=str(tmp_path / place))], QUIET)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_never_of_a_prompt_that_is_not_finite(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step may break the prompt before a loss shows it, and a checkpoint may fall in between."""
    from softprompt.training.tuning import PromptTuning
    from tests.conftest import checkpoint_state

    settings = replace(settings, trainer=replace(settings.trainer, checkpoint_seconds=0.0))
    original = PromptTuning._clip_gradients

    def poison(self):
        if self.runs[0].order.total_steps == 2:
            self.prompts[0].grad.fill_(float("nan"))
        original(self)

    monkeypatch.setattr(PromptTuning, "_clip_gradients", poison)
    assert "the training loss is nan at step 4" in refused(settings)
    (path,) = Path(settings.output_root).rglob("last.ckpt")
    state = checkpoint_state(path)
    assert torch.isfinite(state["prompt"]).all() and state["order"]["epoch"] * 2 + state["order"]["step"] == 2
    monkeypatch.setattr(PromptTuning, "_clip_gradients", original)
    (run,) = train_pack([settings], QUIET)
    assert isinstance(run, Run) and run.done

"""Input that no run is trained with."""

from pathlib import Path

import pytest
from rich.console import Console

from softprompt.errors import UserError
from softprompt.settings import Settings
from softprompt.training.train import train_pack

QUIET = Console(quiet=True)


def refused(settings: Settings) -> str:
    with pytest.raises(UserError) as caught:
        train_pack([settings], QUIET)
    assert "\n" not in str(caught.value)
    assert not list(Path(settings.output_root).rglob("result.json"))
    return str(caught.value)

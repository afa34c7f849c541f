"""Train soft prompts: `python train.py task=cb seed=1`, or a sweep: `python train.py -m task=cb,rte seed=0,1`."""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from softprompt.errors import ErrorReport, UserError
from softprompt.settings import parse_settings

errors = ErrorReport(HydraException, OmegaConfBaseException)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """One run, as composed. In a sweep, a run that fails does not keep the others from running."""
    with errors:
        settings = parse_settings(OmegaConf.to_container(config, resolve=True))
        if settings.trainer.devices > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
            # Lightning starts the other processes by calling this command again, sweep and all.
            raise UserError(
                f"trainer.devices={settings.trainer.devices}: a sweep (-m) takes one device a run"
            )
        # Imported here: a mistyped value should not have to wait for torch.
        from softprompt.pack import train_pack

        train_pack([settings], Console())


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # without it Hydra shows its own errors at length
    with errors:
        main()
    sys.exit(errors.exit_code)

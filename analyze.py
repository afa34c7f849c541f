"""Read what a sweep's prompts learned: `python analyze.py sweep=outputs/study`."""

import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from softprompt.errors import ErrorReport
from softprompt.settings import parse_analysis_settings

errors = ErrorReport(HydraException, OmegaConfBaseException)


@hydra.main(version_base="1.3", config_path="conf", config_name="analyze")
def main(config: DictConfig) -> None:
    """All finished runs under a folder."""
    with errors:
        settings = parse_analysis_settings(OmegaConf.to_container(config, resolve=True))
        # Imported here: a mistyped value should not have to wait for torch.
        from softprompt.report.write import write_report

        write_report(settings, Console())


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # without it Hydra shows its own errors at length
    with errors:
        main()
    sys.exit(errors.exit_code)

"""Composing the configs of many jobs of a sweep.

Hydra composes a config from its files anew for each job, twice, which takes a minute for five hundred jobs. Jobs that
differ in values only, not in files, share the composition here; their values are applied to copies of it.
"""

import copy
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf


class SharedCompositions:
    """Hydra's config loader, with a faster `load_sweep_config` that returns the same."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._compositions: dict[tuple[str, ...], DictConfig] = {}
        self._parser = OverridesParser.create()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """See `ConfigLoader.load_sweep_config`."""
        parsed = self._parser.parse_overrides(sweep_overrides)
        repository = getattr(self._loader, "repository", None)
        if repository is None or any(o.is_add() or o.is_force_add() or o.is_delete() for o in parsed):
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        values = [o for o in parsed if o.package is None and not repository.group_exists(o.key_or_group)]
        choices = [o for o in parsed if o not in values]
        key = tuple(o.input_line or "" for o in choices)
        if key not in self._compositions:
            self._compositions[key] = self._loader.load_sweep_config(master_config, list(key))
        config = copy.deepcopy(self._compositions[key])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        common = list(OmegaConf.to_container(master_config.hydra.overrides.hydra))  # type: ignore[arg-type]
        of_hydra = [o.input_line for o in parsed if o.is_hydra_override()]
        config.hydra.overrides.hydra = [*common, *of_hydra]
        config.hydra.overrides.task = [o.input_line for o in parsed if not o.is_hydra_override()]
        options = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=[o for o in parsed if not o.is_hydra_override()],
            kv_sep=options.kv_sep,
            item_sep=options.item_sep,
            exclude_keys=options.exclude_keys,
        )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

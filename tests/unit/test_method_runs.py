"""Names of methods in a sweep."""

from dataclasses import replace

from softprompt.report.method_runs import _method_names
from softprompt.runs import Run
from softprompt.settings import AutoPromptSettings, PrefixSettings, Settings


def test_a_method_is_named_with_the_settings_that_differ(settings: Settings) -> None:
    methods = [
        settings.method,
        PrefixSettings("prefix", None),
        PrefixSettings("prefix", 512),
        AutoPromptSettings("autoprompt", candidates=16, side_by_side=8),
    ]
    runs = [Run.of(replace(settings, method=method), {}) for method in methods]
    assert _method_names(runs) == ["prompt", "prefix hidden=None", "prefix hidden=512", "autoprompt"]

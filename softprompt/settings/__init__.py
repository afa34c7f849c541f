"""Everything in `conf/` as typed dataclasses. `parsing.py` makes them from a composed config."""

from softprompt.settings.analysis import (
    AnalysisSettings,
    Elicitation,
    PredictSettings,
    Published,
    PublishedNorms,
)
from softprompt.settings.data import (
    DataSettings,
    FilesData,
    HubData,
    JsonlData,
    MicroworldData,
    Truncate,
)
from softprompt.settings.logger import LoggerSettings
from softprompt.settings.run import (
    BOS,
    MICROWORLD,
    AutoPromptSettings,
    MethodSettings,
    ModelSettings,
    OptimSettings,
    PezSettings,
    PrefixSettings,
    PromptSettings,
    ResidualSettings,
    Settings,
    SoftSettings,
    TaskSettings,
    TrainerSettings,
)

__all__ = [
    "BOS",
    "MICROWORLD",
    "AnalysisSettings",
    "AutoPromptSettings",
    "DataSettings",
    "Elicitation",
    "FilesData",
    "HubData",
    "JsonlData",
    "LoggerSettings",
    "MethodSettings",
    "MicroworldData",
    "ModelSettings",
    "OptimSettings",
    "PezSettings",
    "PredictSettings",
    "PrefixSettings",
    "PromptSettings",
    "Published",
    "PublishedNorms",
    "ResidualSettings",
    "Settings",
    "SoftSettings",
    "TaskSettings",
    "TrainerSettings",
    "Truncate",
]

"""What a report was computed from, so that it can be reproduced."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from softprompt.files import sha256
from softprompt.report.registry import Section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study
from softprompt.version import __version__


def provenance(study: Study, settings: AnalysisSettings, sections: Sequence[Section]) -> dict[str, Any]:
    """The content of `analysis.json`.

    Settings, versions, the runs with the hashes of their prompts, data and model, and the names of tables and figures.
    """
    backbone = study.results[0]["backbone"]
    return {
        "sweep": str(study.folder),
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "softprompt": __version__,
        "model": backbone,
        "settings": {key: value for key, value in asdict(settings).items() if key != "sweep"},
        "runs": [
            {
                **{name: label[name] for name in ("run", "task", "variant", "seed")},
                "prompt": sha256((run.path / "prompt.safetensors").read_bytes()),
                "commit": result["commit"],
                "versions": result["versions"],
                "hashes": result["hashes"],
            }
            for run, result, label in zip(
                study.runs, study.results, study.labels.to_dict("records"), strict=True
            )
        ],
        "left_out": [str(path) for path in study.left_out],
        "tables": {section.title: list(section.tables) for section in sections},
        "figures": {section.title: list(section.drawings) for section in sections},
    }


def provenance_summary(about: dict[str, Any]) -> dict[str, str]:
    """The part of `provenance` that is shown at the end of the page."""
    model, runs = about["model"], about["runs"]
    hashes = {(name, value) for run in runs for name, value in run["hashes"].items()}
    versions = sorted({f"{name} {version}" for run in runs for name, version in run["versions"].items()})
    return {
        "made": about["made"],
        "runs": f"{len(runs)}, commit {', '.join(sorted({str(run['commit']) for run in runs}))}",
        **({"left out, not finished": ", ".join(about["left_out"])} if about["left_out"] else {}),
        "model": f"{model['id']} {model['revision'] or ''} in {model['dtype']}",
        "versions": ", ".join(versions),
        "files (SHA-256)": ", ".join(f"{name} {value[:12]}" for name, value in sorted(hashes)),
        "settings": ", ".join(
            f"{key}={value}" for key, value in about["settings"].items() if isinstance(value, str | int)
        ),
        "complete record": "analysis.json",
    }

"""Makes a Weights & Biases workspace for a project: `python -m softprompt.wandb_panels --entity me --project softprompt`.

Needs `pip install 'softprompt[wandb-panels]'` and an API key.
"""

import argparse
import os
import sys
from typing import Any

from softprompt.errors import UserError, first_line, print_error

# Section -> title of a panel -> what it draws against the step, as `training/callbacks/track.py` names it.
CURVES = {
    "Scores": {
        "Exact match, with baselines": [
            "val/exact_match",
            "baseline/majority/exact_match",
            "baseline/no_prompt/exact_match",
            "baseline/instruction/exact_match",
        ],
        "Rank accuracy, with baselines": [
            "val/rank_accuracy",
            "baseline/no_prompt/rank_accuracy",
            "baseline/instruction/rank_accuracy",
        ],
        "Loss, with baselines": ["val/loss", "baseline/no_prompt/loss", "baseline/instruction/loss"],
    },
    "Training": {
        "Loss of a step": ["train/loss"],
        "Norm of the gradient before clipping": ["train/gradient_norm"],
        "Distance from the start": ["prompt/distance_from_start"],
        "Learning rate": ["train/lr"],
    },
}
TABLE = "neighbours"  # of the nearest tokens
FIGURES = tuple(
    f"figures/{name}" for name in ("learning_curves", "norms", "similarity", "transfer")
)  # of the report


def make_workspace(entity: str, project: str) -> Any:
    """A workspace that is not saved yet: a section per topic, runs grouped by task and initialiser."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    sections = [
        workspaces.Section(
            name=section,
            is_open=True,
            panels=[panels.LinePlot(title=title, x="Step", y=names) for title, names in plots.items()],
        )
        for section, plots in CURVES.items()
    ]
    sections.append(
        workspaces.Section(
            name="Nearest tokens", is_open=True, panels=[panels.WeavePanelSummaryTable(table_name=TABLE)]
        )
    )
    sections.append(workspaces.Section(name="Report", panels=[panels.MediaBrowser(media_keys=list(FIGURES))]))
    by_task = [workspaces.Config("task.name"), workspaces.Config("prompt.init")]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="softprompt",
        sections=sections,
        runset_settings=workspaces.RunsetSettings(groupby=by_task),
    )


def main() -> None:
    """Make the workspace and print its address."""
    parser = argparse.ArgumentParser(prog="python -m softprompt.wandb_panels", description=__doc__)
    parser.add_argument("--entity", required=True, help="your name or team on W&B")
    parser.add_argument("--project", default="softprompt", help="as in logger.project (default: %(default)s)")
    options = parser.parse_args()
    try:
        print(f"workspace: {_saved(options.entity, options.project)}")
    except UserError as error:
        print_error(error)
        sys.exit(1)


def _saved(entity: str, project: str) -> str:
    """The address of the workspace, once it is saved."""
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        if not wandb.login(prompt=False, verify=False):
            raise UserError("no API key: run `wandb login`, or set WANDB_API_KEY")
        return str(make_workspace(entity, project).save().url)
    except ImportError as error:
        raise UserError(f"{first_line(error)}: pip install 'softprompt[wandb-panels]'") from error
    except (wandb.Error, ValueError, OSError) as error:
        raise UserError(f"the workspace cannot be saved: {first_line(error)}") from error


if __name__ == "__main__":
    main()

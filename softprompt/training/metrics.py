"""Metrics that a task names beside those of every task (`metrics` in `conf/task`)."""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class F1a(Metric):
    """F1 of the task's first answer over all examples (MultiRC's F1a: an answer option is right, or it is not)."""

    found: Tensor
    predicted: Tensor
    right: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("found", "predicted", "right"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Int[Tensor, "E"], labels: Int[Tensor, "E"], groups: Int[Tensor, "E"]) -> None:
        """Add examples: indices of the most likely and of the right answer, and the group of each example."""
        self.found += ((predicted == 0) & (labels == 0)).sum()
        self.predicted += (predicted == 0).sum()
        self.right += (labels == 0).sum()

    def compute(self) -> Tensor:
        """F1; 0 if the answer neither is predicted nor occurs."""
        return 2 * self.found / (self.predicted + self.right).clamp(min=1)


class QuestionExactMatch(Metric):
    """Share of the groups of examples in which every example is answered right (MultiRC: the options of a question)."""

    right: list[Tensor]
    groups: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "groups"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, predicted: Int[Tensor, "E"], labels: Int[Tensor, "E"], groups: Int[Tensor, "E"]) -> None:
        """As `F1a.update`."""
        self.right.append((predicted == labels).long())
        self.groups.append(groups)

    def compute(self) -> Tensor:
        """The share."""
        names, group_of = torch.unique(dim_zero_cat(self.groups), return_inverse=True)
        all_right = torch.ones(len(names), dtype=torch.long, device=group_of.device)
        all_right.scatter_reduce_(0, group_of, dim_zero_cat(self.right), "amin")
        return all_right.float().mean()


METRICS: dict[str, Callable[[], Metric]] = {"f1a": F1a, "question_exact_match": QuestionExactMatch}

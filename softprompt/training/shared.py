"""What the runs of a pack share: the frozen model, the data, the method, and the task's instruction."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbone import Backbone, load_backbone
from softprompt.data.module import TaskData
from softprompt.data.sources import Records
from softprompt.errors import UserError
from softprompt.methods import Method, make_method
from softprompt.settings import Settings


@dataclass(frozen=True)
class Shared:
    """Model, data and method of runs of one kind.

    Attributes:
        settings: those of one of the runs; task, data, model and method are the same in all.
        dtype: of the frozen weights.
        fingerprint: hashes of data and model, by file name.
        instruction: the embeddings of its tokens.
    """

    settings: Settings
    dtype: str
    records: Records
    fingerprint: dict[str, str]
    backbone: Backbone
    data: TaskData
    method: Method
    instruction: Float[Tensor, "n d"]

    @staticmethod
    def load(
        settings: Settings,
        dtype: str,
        records: Records,
        fingerprint: dict[str, str],
        say: Callable[[str], None],
    ) -> "Shared":
        """Load the model onto the CPU, and prepare the data.

        Raises:
            UserError: the model cannot be loaded, it does not allow the method, or a record does not fit it.
        """
        task, model = settings.task, settings.model
        say(f"{model.id}, frozen, in {dtype}")
        backbone = load_backbone(model, getattr(torch, dtype))
        if backbone.bos_id is not None:
            token = backbone.tokenizer.bos_token
            say(
                f"in front of every prompt: {token}, the beginning of a sequence (model.bos={settings.model.bos})"
            )
        if backbone.notice:
            say(backbone.notice)
        data = TaskData(
            task,
            settings.data,
            records,
            backbone.tokenizer,
            backbone.table_rows,
            backbone.context_length,
            settings.trainer.batch_size,
            settings.trainer.eval_batch_size,
        )
        if (truncate := settings.data.truncate) and (cut := sum(data.truncated.values())):
            count = sum(map(len, records.splits.values()))
            say(f"data.truncate: cut the field {truncate.field!r} of {cut} of {count} records")
        method = make_method(settings.method, backbone, task)
        instruction = backbone.embed_text(task.instruction)
        if not len(instruction):
            raise UserError(f"task.instruction={task.instruction!r}: the tokenizer makes no token of it")
        shared = Shared(settings, dtype, records, fingerprint, backbone, data, method, instruction)
        shared.check_length(len(instruction))
        return shared

    @property
    def selects_on_validation(self) -> bool:
        """True if the examples that pick the best prompt are the official validation set."""
        return self.data.selection is self.data.validation

    def check_length(self, rows: int) -> None:
        """Raise a `UserError` if any example does not fit the model's context with a prompt of so many rows."""
        self.data.check_lengths(rows, self.backbone.context_length)

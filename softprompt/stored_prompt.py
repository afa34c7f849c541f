"""What a run can start from instead of tokens or noise: another run's prompt or prefix, or an adapter's."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.adapter import WEIGHTS, read_adapter
from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.prompt import SoftPrompt

CacheShapes = list[tuple[int, int, int]]  # see `Backbone.cache_shapes`


@dataclass(frozen=True)
class Stored:
    """The rows of a prompt, or, with `is_prefix`, keys and values; float32."""

    matrix: Float[Tensor, "n _"]
    is_prefix: bool


def read_stored(path: Path, backbone: Backbone, method: str) -> Stored:
    """The prompt or prefix in a file, for a run of a method.

    Args:
        path: the weights of an adapter, or what `SoftPrompt.save` wrote.

    Raises:
        UserError: it cannot be read, is of another model, or is a prefix and the method is not prefix tuning.
    """
    if path.name == WEIGHTS:
        adapter = read_adapter(path.parent)
        if adapter.cache_shapes is not None:
            return _checked_prefix(path, adapter.matrix, adapter.cache_shapes, backbone, method)
        return Stored(_without_bos(_checked_rows(path, adapter.matrix, backbone), backbone), False)
    other = SoftPrompt.load(path)
    if other.backbone_hash not in (None, backbone.embedding_hash) or (
        other.backbone_hash is None and other.backbone != backbone.id
    ):
        raise UserError(
            f"{path}: this prompt was trained for {other.backbone}, whose embeddings are not those of {backbone.id}"
        )
    if other.method == "prefix":
        return _checked_prefix(path, other.matrix, None, backbone, method)
    return Stored(_checked_rows(path, other.matrix, backbone), False)


def _checked_rows(path: Path, matrix: Float[Tensor, "n _"], backbone: Backbone) -> Float[Tensor, "n d"]:
    """The matrix, as wide as the model's embeddings."""
    width = matrix.shape[1]
    if width != backbone.width:
        raise UserError(f"{path}: this prompt is {width} wide, and the model's embeddings {backbone.width}")
    return matrix


def _without_bos(matrix: Float[Tensor, "n d"], backbone: Backbone) -> Float[Tensor, "_ d"]:
    """An adapter may have the beginning-of-sequence token as its first row; here it is put in front."""
    if len(matrix) == 1 or backbone.bos_id is None:
        return matrix
    is_bos = torch.allclose(matrix[:1], backbone.bos.cpu(), rtol=0.01)  # may be rounded to bfloat16
    return matrix[1:] if is_bos else matrix


def _checked_prefix(
    path: Path, matrix: Float[Tensor, "n _"], shapes: CacheShapes | None, backbone: Backbone, method: str
) -> Stored:
    """The prefix, which is one for the model and the method.

    Args:
        shapes: the keys and values of each layer, if the file says so.
    """
    if method != "prefix":
        raise UserError(
            f"{path}: holds keys and values (method=prefix), and method={method} starts from rows; use method=prefix, or "
            "another run"
        )
    own = backbone.cache_shapes
    if matrix.shape[1] != backbone.prefix_width or shapes not in (None, own):
        raise UserError(
            f"{path}: this prefix is {matrix.shape[1]} wide{_described(shapes)}, and the keys and values of {backbone.id} are "
            f"{backbone.prefix_width} wide{_described(own)}"
        )
    return Stored(matrix, True)


def _described(shapes: CacheShapes | None) -> str:
    if shapes is None:
        return ""
    heads, key, value = shapes[0]
    return f" ({len(shapes)} layers, the first with {heads} heads of {key} and {value})"

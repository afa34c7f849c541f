"""Numbers and names as the report shows them."""

import re

import numpy as np
import pandas as pd

from softprompt.files import sha256


def format_interval(low: float, high: float, spec: str = "+z.0f") -> str:
    """`[low, high]`."""
    return f"[{low:{spec}}, {high:{spec}}]"


def format_range(values: "pd.Series[float]", spec: str = ".0%") -> str:
    """`smallest to largest`; one number if both look the same."""
    low, high = f"{values.min():{spec}}", f"{values.max():{spec}}"
    return low if low == high else f"{low} to {high}"


def format_runs(runs: int, distinct: int) -> str:
    """`4`, or `4 (2 distinct)` if some have exactly the same prompt."""
    return f"{runs}" if runs == distinct else f"{runs} ({distinct} distinct)"


def significant(value: float, digits: int = 3) -> str:
    """A number with significant digits and no exponent, as 0.0123, 1.20 or 1230; a dash if it is not finite."""
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 9.999 is 10.0
    decimals = digits - 1 - exponent
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def format_bytes(count: float) -> str:
    """A number of bytes, as 512 B, 53.2 kB or 1.47 MB; a dash if it is not finite."""
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if count >= 999.5:  # to three digits, this is 1000
            count, unit = count / 1000, larger
    return f"{significant(count)} {unit}" if np.isfinite(count) else "–"


def figure_name(stem: str, variant: str) -> str:
    """A file name: `transfer` for prompts initialised from text, `transfer_random` for those from random rows."""
    if variant == "text":
        return stem
    short = re.sub(r"[^A-Za-z0-9.=]+", "_", variant)
    # Long variants and those in other scripts get a hash, because two of them may become equal here.
    is_plain = variant.isascii() and len(variant) <= 60
    return f"{stem}_{short if is_plain else f'{short[:40]}_{sha256(variant.encode())[:6]}'}"

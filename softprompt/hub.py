"""Whether the Hugging Face hub can be reached. Without a network its libraries try for half a minute before they say so."""

import os
import socket
import sys
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

TIMEOUT = 2.0  # seconds, to open a connection

UNREACHABLE = (
    "the hub cannot be reached from here, and its cache on this machine lacks this; give a folder (model.id=..., or "
    "data=superglue_jsonl data.root=...)"
)


@cache  # asked once per process
def is_reachable() -> bool:
    """True if a connection to the hub can be opened, or if it is reached through a proxy, which is not tried here.

    If not, the hub's libraries are told to use their caches alone.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    url = urlsplit(constants.ENDPOINT)
    if {url.scheme, "all"} & getproxies().keys():
        return True
    try:
        with socket.create_connection((url.hostname, url.port or 443), TIMEOUT):
            return True
    except OSError:
        _go_offline()
        return False


def _go_offline() -> None:
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"  # for libraries and processes that are started later
    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:  # it has read the variable already
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True

import socket
import time

import datasets
import pytest
from huggingface_hub import constants

from softprompt import hub


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As if no variable said that this machine is offline."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(hub, "getproxies", dict)
    hub.is_reachable.cache_clear()
    yield monkeypatch
    hub.is_reachable.cache_clear()


def test_without_a_network_the_libraries_use_their_caches_alone(online: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        online.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        start = time.monotonic()
        assert not hub.is_reachable()
        assert time.monotonic() - start < hub.TIMEOUT + 1
    assert constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_used(online: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        online.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub.is_reachable() and not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("proxy", ["https", "all"])
def test_behind_a_proxy_nothing_is_tried(online: pytest.MonkeyPatch, proxy: str) -> None:
    online.setattr(hub, "getproxies", lambda: {proxy: "http://proxy:3128"})
    online.setattr(constants, "ENDPOINT", "https://hub.invalid")
    assert hub.is_reachable() and not constants.HF_HUB_OFFLINE

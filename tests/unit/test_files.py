import json
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import UserError
from softprompt.files import (
    Damaged,
    check_json,
    machine,
    read_json,
    remove_leftovers,
    seal,
    sealed_json,
    unseal,
    write_atomically,
)


def test_a_write_replaces_the_content_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UserError, match=r"file\.txt: cannot be written \(disk full\)"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_only_dead_processes_temporary_files_are_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = {
        "dead": f".a.json.{machine()}-{dead.pid}.tmp",
        "alive": f".b.csv.{machine()}-{os.getppid()}.tmp",
        "elsewhere": f".c.csv.00000000-{dead.pid}.tmp",
        "not ours": ".d.tmp",
    }
    for name in names.values():
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names.values()) - {names["dead"]}


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(0, 7))
def test_a_sealed_content_comes_back_and_no_flipped_bit_passes(content, place, bit):
    sealed = seal(content, "a-run")
    assert unseal(sealed, "a-run") == content
    with pytest.raises(Damaged, match="it belongs to a-run"):
        unseal(sealed, "another-run")
    flipped = bytearray(sealed)
    flipped[place % len(sealed)] ^= 1 << bit
    with pytest.raises(Damaged):
        unseal(bytes(flipped), "a-run")


@given(st.dictionaries(st.text(), st.floats(allow_nan=False) | st.text() | st.integers()))
def test_a_sealed_object_is_checked(content):
    content.pop("checksum", None)
    read = json.loads(sealed_json(content))
    check_json(read)
    assert {key: value for key, value in read.items() if key != "checksum"} == content
    with pytest.raises(Damaged):
        check_json({**read, "more": 1})
    with pytest.raises(Damaged):
        check_json(content)


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_file_without_a_json_object_is_refused(tmp_path, content):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(UserError, match=r"f\.json: "):
        read_json(tmp_path / "f.json")

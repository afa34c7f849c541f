import pytest

from softprompt.errors import UserError
from softprompt.files import read_json, write_atomically


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
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_file_without_a_json_object_is_refused(tmp_path, content):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(UserError, match=r"f\.json: "):
        read_json(tmp_path / "f.json")

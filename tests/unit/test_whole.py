"""What is written is there whole or not at all, file or folder, and nothing else is left beside it."""

import shutil
from pathlib import Path

import pytest

from fo1agent.whole import whole


def there(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_file_takes_the_place_of_the_old_one_only_when_it_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    for text in ("old", "new"):
        with whole(target) as temporary:
            assert temporary.suffix == ".txt"
            assert temporary.parent == tmp_path
            temporary.write_text(text)
        assert there(tmp_path) == {"a.txt": text}
    with pytest.raises(UnicodeEncodeError), whole(target) as temporary:
        temporary.write_text("half \ud800")
    assert there(tmp_path) == {"a.txt": "new"}


def test_a_folder_replaces_another_only_if_it_may(tmp_path):
    target = tmp_path / "model"
    for replace in (False, True):
        with whole(target, replace) as temporary:
            (temporary / "sub").mkdir(parents=True)
            (temporary / "sub" / "x").write_text(str(replace))
        assert there(tmp_path) == {"model/sub/x": str(replace)}
    with pytest.raises(OSError, match="not empty"), whole(target) as temporary:
        temporary.mkdir()
    with pytest.raises(FileExistsError), whole(target, replace=True) as temporary:
        shutil.copytree(target, temporary).mkdir()
    assert there(tmp_path) == {"model/sub/x": "True"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_two_writers_of_one_file_do_not_meet_and_what_a_killed_one_left_is_replaced(tmp_path):
    with whole(tmp_path / "a") as one, whole(tmp_path / "a") as other:
        assert one != other
        one.write_text("1")
        other.write_text("2")
    assert there(tmp_path) == {"a": "1"}
    killed = whole(tmp_path / "b", replace=True)
    left = killed.__enter__()
    left.mkdir()
    (left / "half").touch()
    with whole(tmp_path / "b", replace=True) as temporary:
        assert not temporary.exists()
        temporary.mkdir()
    assert there(tmp_path) == {"a": "1"}


def test_a_folder_that_a_killed_writer_put_aside_comes_back(tmp_path):
    (tmp_path / ".old-model").mkdir()
    (tmp_path / ".old-model" / "x").write_text("old")
    with pytest.raises(FileNotFoundError), whole(tmp_path / "model", replace=True):
        pass  # writes nothing
    assert there(tmp_path) == {"model/x": "old"}


def test_a_link_and_the_mode_of_a_file_stay(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "a.txt").chmod(0o600)
    (tmp_path / "link.txt").symlink_to("a.txt")
    with whole(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o600


def test_nothing_written_and_no_folder_to_write_into_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "a"):
        pass
    with pytest.raises(FileNotFoundError), whole(tmp_path / "no" / "a") as temporary:
        temporary.write_text("x")
    assert list(tmp_path.iterdir()) == []

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

from bot.operations.workdir import workdir

HOLDER = """
import sys, pathlib
from bot.operations.workdir import workdir
with workdir(pathlib.Path(sys.argv[1])) as folder:
    (folder / "video.mp4").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_is_removed_at_the_end_of_the_block(tmp_path: Path) -> None:
    with workdir(tmp_path) as folder:
        (folder / "video.mp4").write_bytes(b"x")

    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_private_to_the_user(tmp_path: Path) -> None:
    with workdir(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_two_folders_can_exist_at_once(tmp_path: Path) -> None:
    with workdir(tmp_path) as first, workdir(tmp_path) as second:
        assert first != second
        assert first.exists()


def test_a_folder_without_a_lock_is_left_alone(tmp_path: Path) -> None:
    others = tmp_path / "zoetrope-work-without-a-lock"
    others.mkdir()

    with workdir(tmp_path):
        pass

    assert others.exists()


def test_the_folder_of_a_killed_process_is_removed_at_the_next_start_and_not_before(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    root = Path(__file__).parents[2]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=root) as holder:  # noqa: S603 - our own code
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        os.utime(held, (0, 0))
        with workdir(tmp_path):
            assert (held / "video.mp4").exists()
        holder.kill()
    os.utime(held, (0, 0))

    with workdir(tmp_path) as fresh:
        assert not held.exists()
        assert fresh.exists()


def test_a_symlink_with_the_name_of_a_work_folder_is_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".lock").touch()
    (tmp_path / "zoetrope-work-link").symlink_to(theirs)
    os.utime(theirs, (0, 0))
    os.utime(tmp_path / "zoetrope-work-link", (0, 0), follow_symlinks=False)

    with workdir(tmp_path):
        pass

    assert (theirs / ".lock").exists()


def test_a_lock_that_is_a_symlink_is_not_opened(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "zoetrope-work-odd", tmp_path / "precious"
    folder.mkdir()
    elsewhere.touch()
    (folder / ".lock").symlink_to(elsewhere)
    os.utime(folder, (0, 0))

    with workdir(tmp_path):
        pass

    assert folder.exists()


def test_a_pipe_in_place_of_the_lock_does_not_block_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "zoetrope-work-pipe"
    folder.mkdir()
    os.mkfifo(folder / ".lock")
    os.utime(folder, (0, 0))

    with workdir(tmp_path) as fresh:
        assert fresh.exists()

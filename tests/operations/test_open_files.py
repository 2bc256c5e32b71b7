import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bot.operations.open_files import MANY

_LIMIT_AFTER = """
import resource, sys
from bot.__main__ import main

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
main(["run"])  # ends at once, for lack of settings
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [(256, MANY + 1, MANY), (256, 300, 300), (MANY + 1, MANY + 1, MANY + 1)],
    ids=["many are allowed", "fewer are allowed", "even more are allowed already"],
)
def test_every_command_may_have_many_files_open(tmp_path: Path, soft: int, hard: int, raised: int) -> None:
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed < hard:
        pytest.skip("this user may not have that many")
    command = [sys.executable, "-c", _LIMIT_AFTER, str(soft), str(hard)]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(  # noqa: S603
        command, cwd=tmp_path, env=environment, capture_output=True, check=True, text=True
    ).stdout
    assert shown.split()[-2:] == [str(raised), str(hard)]

"""`requirements/progress.py`, with a command whose output is like pip's."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "requirements" / "progress.py"


def run(folder: Path, pip: str, *, packages: int = 10) -> subprocess.CompletedProcess[str]:
    file = folder / "some.txt"
    file.write_text("".join(f"package{number}==1.0 \\\n    --hash=sha256:0\n" for number in range(packages)))
    command = [sys.executable, str(SCRIPT), str(file), sys.executable, "-c", pip]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603


def test_a_log_gets_a_few_progress_lines_and_none_of_pips_output(tmp_path: Path) -> None:
    pip = "for n in range(10): print(f'Collecting p{n}'); print('  Downloading from somewhere')\n"
    result = run(tmp_path, f"{pip}print('Installing collected packages: p0, p1')")
    first, *lines, last = result.stdout.splitlines()
    assert result.returncode == 0
    assert first.startswith("Installing the 10 packages of ")
    assert lines == [*(f"  fetched {n} of 10" for n in (2, 4, 6, 8, 10)), "  unpacking"]
    assert last.startswith("Installed in ")


def test_a_failure_shows_the_end_of_pips_output_and_keeps_its_exit_code(tmp_path: Path) -> None:
    result = run(tmp_path, "print('Collecting p0'); print('no such version'); raise SystemExit(3)")
    assert result.returncode == 3
    assert result.stdout.endswith("Collecting p0\nno such version\n")


def test_few_packages_are_counted_too(tmp_path: Path) -> None:
    assert "fetched 1 of 2" in run(tmp_path, "print('Collecting p0')", packages=2).stdout

"""The batch script for Slurm: what is in it, what it does when it is told to stop, and what is refused."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dmtl.cli import cli
from dmtl.commands.slurm import Job, seconds
from dmtl.errors import ConfigError

SIZE = ("--nodes", "2", "--ranks", "4")
DATA = ("--data", "synthetic:rows=20,features=4")


def script(*options: str, run: tuple[str, ...] = DATA) -> str:
    done = CliRunner().invoke(cli, ["slurm", *SIZE, *options, "--", *run], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    place = tmp_path / "a folder's name"
    place.mkdir()
    monkeypatch.chdir(place)


def test_what_was_asked_for_is_asked_of_slurm():
    text = script("--time", "1-12", "--queue", "long", "--account", "a1", "--module", "mpi/5", "--job-name", "ring")
    asked = ["job-name=ring", "time=1-12", "partition=long", "account=a1"]
    size = ["nodes=2", "ntasks=4", "ntasks-per-node=2", "cpus-per-task=1"]
    kept = ["output=%x-%j.out", "open-mode=append", "requeue", "signal=B:USR1@180"]
    assert directives(text) == asked + size + kept
    assert text.splitlines().index("module load mpi/5 || exit") > text.splitlines().index("#SBATCH --requeue")
    assert text.startswith("#!/bin/bash -l\n")


def test_what_was_not_asked_for_is_left_to_slurm():
    text = script()
    assert not [line for line in directives(text) if line.startswith(("time", "partition", "account"))]
    assert "module" not in text
    assert "OMP_NUM_THREADS=1" in text


def test_a_shell_can_read_it_and_shellcheck_finds_nothing(tmp_path):
    path = tmp_path / "job.sh"
    path.write_text(script("--time", "10", "--module", "mpi", run=(*DATA, "--name", "it's here *")))
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_script_may_go_into_a_file(tmp_path):
    assert script("--out", str(tmp_path / "job.sh")) == ""
    assert (tmp_path / "job.sh").read_text() == script()


def test_there_are_twenty_checkpoints_unless_somebody_wants_another_number():
    assert "--checkpoint-every 50\n" in script(run=(*DATA, "--rounds", "1000"))
    assert "--checkpoint-every 1\n" in script(run=(*DATA, "--rounds", "7"))
    assert "--checkpoint-every 3\n" in script("--checkpoint-every", "3")


def test_the_folder_is_that_of_the_run_itself():
    run = (*DATA, "--seed", "3")
    first, second = script(run=run), script(run=(*run, "--out", "mine"))
    settings = [sys.executable, "-m", "dmtl", "run", "--ranks", "4", "--quiet", *run]
    subprocess.run(settings, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})
    (place,) = Path("runs").iterdir()
    assert f"out={place}\n" in first
    assert f"--out {place} " in first
    assert "out=mine\n" in second
    assert second.count("--out ") == 1


LAUNCHER = """\
#!/bin/bash
printf '%s\\n' "$PWD" "$OMP_NUM_THREADS" "$@" >> {place}/heard
stop() {{ kill "$!"; touch "out dir/rank-0000.ckpt-{round}.npz"; exit 143; }}
trap stop USR1
mkdir -p "out dir"
touch "out dir/config.toml"
{action}
"""
WAIT = "sleep 60 > /dev/null & echo started; wait"
ENDED = """printf '{"event": "end", "round": 9}\\n' > "out dir/rank-0000.jsonl\""""


class Stage:
    """A script with a launcher and a scontrol that only write down how they were called."""

    def __init__(self, place: Path, *run: str) -> None:
        self.place, self.out = place, Path("out dir")
        self.launcher, self.scontrol = place / "my launcher", place / "bin" / "scontrol"
        self.scontrol.parent.mkdir()
        self.write(self.scontrol, f'#!/bin/bash\necho "$@" >> {place}/asked')
        given = (*DATA, "--out", str(self.out), *run)
        self.text = script("--launcher", shlex.quote(str(self.launcher)), run=given)

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def play(self, action: str, stop: signal.Signals | None = None, round: int = 5) -> int:
        """Run the script, tell it to stop once the launcher has started, and return its exit code."""
        self.write(self.launcher, LAUNCHER.format(place=shlex.quote(str(self.place)), round=round, action=action))
        environment = {**os.environ, "PATH": f"{self.scontrol.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "42"}
        pipe = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        with subprocess.Popen(["bash", "-c", self.text], env=environment, **pipe) as process:
            try:
                if stop:
                    assert process.stdout.readline() == "started\n"
                    process.send_signal(stop)
                return process.wait(60)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def heard(self) -> list[str]:
        return (self.place / "heard").read_text().splitlines()

    def asked(self) -> list[str]:
        path = self.place / "asked"
        return path.read_text().splitlines() if path.exists() else []


def test_every_argument_arrives_as_it_was_given(tmp_path):
    stage = Stage(tmp_path, "--name", 'it\'s $HOME * \\ "here"\n#SBATCH --nodes=9')
    assert stage.play(ENDED) == 0
    folder, threads, *rest = stage.heard()
    program = str(Path(sys.prefix, "bin", "dmtl"))
    words = [
        *DATA,
        "--out",
        "out dir",
        "--name",
        'it\'s $HOME * \\ "here"',
        "#SBATCH --nodes=9",
        "--checkpoint-every",
        "5",
    ]
    assert (folder, threads, rest) == (str(Path.cwd()), "1", ["-n", "4", program, "run", *words])
    assert "nodes=9" not in directives(stage.text.split("\ncd ")[0])


def test_a_run_that_ends_is_not_queued_again(tmp_path):
    stage = Stage(tmp_path)
    assert stage.play(ENDED) == 0
    assert stage.asked() == []


def test_a_job_whose_time_is_over_is_queued_again_and_resumes(tmp_path):
    stage = Stage(tmp_path)
    assert stage.play(WAIT, signal.SIGUSR1) == 143
    assert stage.asked() == ["requeue 42"]
    assert stage.play(ENDED) == 0
    assert stage.heard()[-3:] == ["run", "--resume", "out dir"]
    assert stage.asked() == ["requeue 42"]


def test_a_cancelled_job_writes_a_checkpoint_and_does_not_come_back(tmp_path):
    stage = Stage(tmp_path)
    assert stage.play(WAIT, signal.SIGTERM) == 143
    assert (stage.out / "rank-0000.ckpt-5.npz").exists()
    assert stage.asked() == []


def test_a_launcher_that_ends_with_0_before_the_run_has_ended_is_not_believed(tmp_path):
    stage = Stage(tmp_path)
    assert stage.play('touch "out dir/rank-0000.ckpt-7.npz"; exit 0') == 1
    assert stage.asked() == ["requeue 42"]


def test_a_job_that_gets_no_further_is_not_queued_for_ever(tmp_path):
    stage = Stage(tmp_path)
    assert stage.play("exit 3") == 3
    assert stage.play(WAIT, signal.SIGUSR1) == 143
    assert stage.asked() == ["requeue 42"]
    assert stage.play(WAIT, signal.SIGUSR1, round=5) == 143
    assert stage.asked() == ["requeue 42"]
    assert stage.play(WAIT, signal.SIGUSR1, round=6) == 143
    assert stage.asked() == ["requeue 42"] * 2


@pytest.mark.parametrize(
    ("options", "run", "sentence"),
    [
        (("--ranks", "5"), (), "--ranks 5 cannot be shared evenly by --nodes 2. 6 could."),
        (("--nodes", "0"), (), "--nodes is 0. It must be at least 1."),
        (("--checkpoint-every", "0"), (), "--checkpoint-every is 0. It must be at least 1."),
        (("--time", "2 hours"), (), "--time is '2 hours'. Write hours:minutes:seconds, 02:00:00, or days-hours, 1-12."),
        (("--time", "3"), (), "--time 3 is no longer than --warn-before 180 seconds"),
        (("--job-name", "a b"), (), "--job-name is 'a b'. It may have letters"),
        (("--module", "mpi; rm"), (), "--module is 'mpi; rm'. It may have letters"),
        (("--venv", "nowhere"), (), "nowhere/bin/dmtl. Name the virtual environment that dmtl is in: --venv DIR."),
        (("--launcher", "srun '"), (), """--launcher is "srun '": no closing quotation."""),
        (("--out", "/dev/null/job.sh"), (), "cannot write to /dev/null/job.sh: Not a directory."),
        ((), ("--ranks", "8"), "--ranks is 4, and 8 in the settings of the run. Leave out that one."),
        ((), ("--transport", "simulated"), "the simulator is one process, and this job is many."),
        ((), ("--overwrite",), "--overwrite would remove what a requeued job is to go on with. Leave it out."),
        ((), ("--screen", "trimmed-mean:b=2"), "needs 5 neighbours; rank 0 has 2 in ring."),
        ((), ("--data", "wach"), "unknown data 'wach'. Did you mean 'watch'?"),
        ((), ("--round", "3"), "No such option '--round'."),
    ],
)  # fmt: skip
def test_what_could_not_run_is_refused_in_one_sentence(options, run, sentence):
    command = [sys.executable, "-m", "dmtl", "slurm", *SIZE, *options, "--", *DATA, *run]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=_environment())
    assert done.returncode in (2, 5), done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_folder_with_another_experiment_is_refused_and_its_own_is_not(tmp_path):
    run = (*DATA, "--out", "results")
    command = [sys.executable, "-m", "dmtl", "run", "--ranks", "4", "-q", *run]
    subprocess.run(command, check=True, timeout=60, env=_environment())
    assert script(run=run)
    with pytest.raises(OSError, match="results has results of another experiment"):
        script(run=(*run, "--seed", "1"))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_notation_of_a_time_means_what_slurm_says(d, h, m, s):
    assert seconds(f"{d}-{h}:{m:02}:{s:02}") == ((d * 24 + h) * 60 + m) * 60 + s
    assert seconds(f"{d}-{h}:{m:02}") == ((d * 24 + h) * 60 + m) * 60
    assert seconds(f"{d}-{h}") == (d * 24 + h) * 3600
    assert seconds(f"{h}:{m:02}:{s:02}") == (h * 60 + m) * 60 + s
    assert seconds(f"{m}:{s:02}") == m * 60 + s
    assert seconds(f"{m}") == m * 60


@given(st.integers(1, 40), st.integers(1, 400))
def test_ranks_that_cannot_be_shared_are_told_the_next_number_that_can(nodes, ranks):
    try:
        Job(nodes, ranks)
    except ConfigError as error:
        could = int(str(error).split()[-2])
        assert ranks % nodes
        assert ranks < could < ranks + nodes
        assert Job(nodes, could).ranks == could
    else:
        assert ranks % nodes == 0

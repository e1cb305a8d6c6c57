"""The doctor's judgements on recorded texts of launchers and libraries, and once on the real thing."""

import json
import sys

import pytest
from click.testing import CliRunner

from dmtl.cli import cli
from dmtl.commands import doctor
from dmtl.commands.diagnosis import (
    Check,
    Loaded,
    belongs,
    cores_check,
    family,
    fault_check,
    launcher_check,
    library_check,
    local_ranks,
    mpirun_check,
    root_check,
    threads_check,
    versions_check,
)
from dmtl.commands.doctor import extras, load_apart, packages_check
from dmtl.transports.mpi import Launch, launch

LIBRARIES = {
    "Open MPI 5.0.11": "Open MPI v5.0.11, package: Open MPI user@localhost Distribution, ident: 5.0.11",
    "Open MPI 4.1.4": "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022",
    "MPICH 4.1.2": "MPICH Version:\t4.1.2\nMPICH Release date:\tWed Jun  7 15:22:45 CDT 2023\nMPICH ABI:\t15:1:3",
    "MPICH 8.1.25": "MPI VERSION    : CRAY MPICH version 8.1.25 (ANL base 3.4a2)\nMPI BUILD INFO : Sun Feb 26",
    "Intel MPI 2021.11": "Intel(R) MPI Library 2021.11 for Linux* OS\n",
    "MVAPICH 2.3.7": "MVAPICH2 Version      :\t2.3.7\nMVAPICH2 Release date :\tWed March 02 22:00:00 EST 2022",
}
LAUNCHERS = {
    "Open MPI 5.0.11": "mpirun (Open MPI) 5.0.11\n\nReport bugs to https://www.open-mpi.org/community/help/\n",
    "Open MPI 4.1.4": "mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n",
    "Open MPI 2.1.1": "mpirun (Open MPI) 2.1.1",
    "MPICH 4.1.2": "HYDRA build details:\n    Version:                                 4.1.2\n    Release Date: Wed",
    "Intel MPI 2021.11": "Intel(R) MPI Library for Linux* OS, Version 2021.11 Build 20231005 (id: 74c4a23)\nCopyright",
}
ENVIRONMENTS = {
    "Open MPI": {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
    "MPICH or Intel MPI": {"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALNRANKS": "2"},
    "MVAPICH": {"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "4", "MV2_COMM_WORLD_LOCAL_SIZE": "2"},
    "Slurm": {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"},
}
FIVE, FOUR = LIBRARIES["Open MPI 5.0.11"], LIBRARIES["Open MPI 4.1.4"]
INFO = "                Open MPI: 5.0.11\n Fault Tolerance support: {}\n          FT MPI support: {}\n"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_tells_its_name_and_version(name):
    assert str(family(LIBRARIES[name])) == name


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_tells_its_name_and_version(name):
    assert str(family(LAUNCHERS[name])) == name


def test_an_unknown_text_is_of_no_family():
    assert family("slurm 22.05.8").name == ""
    assert family("slurm 22.05.8").major == 0


def test_a_launcher_belongs_to_the_library_of_its_own_name_and_main_version():
    def kin(library, launcher):
        return belongs(family(LIBRARIES[library]), family(LAUNCHERS[launcher]))

    assert kin("Open MPI 5.0.11", "Open MPI 5.0.11") == "same"
    assert kin("Open MPI 5.0.11", "Open MPI 4.1.4") == "version"
    assert kin("Open MPI 5.0.11", "MPICH 4.1.2") == "other"
    assert kin("Intel MPI 2021.11", "MPICH 4.1.2") == "kin"
    assert kin("MVAPICH 2.3.7", "Open MPI 5.0.11") == "other"
    assert belongs(family(FIVE), family("prun 3")) == "unknown"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_launcher_is_recognised_with_the_ranks_of_this_machine(name):
    environment = ENVIRONMENTS[name]
    assert launch(environment) == Launch(name, 1, 4)
    assert local_ranks(environment) == 2
    assert name in launcher_check(launch(environment)).text


def test_without_a_launcher_there_is_one_rank():
    assert local_ranks({}) == 1
    assert local_ranks({"SLURM_STEP_TASKS_PER_NODE": "1,16(x3),2"}) == 16
    assert "started alone" in launcher_check(Launch("", 0, 1)).text


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_rank_being_rank_0_of_1_is_a_problem_that_names_launcher_and_library(name):
    check = library_check(Launch(name, 1, 4), Loaded(LIBRARIES["MPICH 4.1.2"], 1))
    assert check.status == "problem"
    assert f"{name} started 4 processes" in check.text
    assert "MPICH Version:\t4.1.2" in check.text
    assert check.cure.startswith("Start with")
    assert ("srun --mpi=list" in check.cure) == (name == "Slurm")
    assert check.cure.count(". ") == 0
    assert "dmtl doctor" not in check.cure


def test_a_sound_job_is_ok_and_a_wrong_size_is_not():
    assert library_check(Launch("Open MPI", 0, 4), Loaded(FIVE, 4)) == Check(
        "MPI library", "ok", {"library": FIVE, "size": 4, "error": ""}, "Open MPI 5.0.11, world of 4 ranks"
    )
    assert library_check(Launch("", 0, 1), Loaded(FIVE, 1)).status == "ok"
    assert library_check(Launch("Slurm", 0, 4), Loaded(FIVE, 2)).status == "warning"


def test_a_library_that_cannot_be_loaded_is_a_problem_with_a_cure():
    check = library_check(Launch("", 0, 1), Loaded("", 0, "cannot load MPI library"))
    assert (check.status, check.text) == ("problem", "cannot be loaded: cannot load MPI library")
    assert "pip install" in check.cure


@pytest.mark.parametrize(
    ("library", "launcher", "works", "status"),
    [
        ("Open MPI 5.0.11", "Open MPI 5.0.11", False, "ok"),
        ("Open MPI 5.0.11", "Open MPI 4.1.4", False, "warning"),
        ("Open MPI 5.0.11", "MPICH 4.1.2", False, "problem"),
        ("Open MPI 5.0.11", "MPICH 4.1.2", True, "warning"),
        ("MPICH 4.1.2", "Intel MPI 2021.11", False, "warning"),
        ("Intel MPI 2021.11", "Open MPI 5.0.11", False, "problem"),
    ],
)
def test_a_foreign_mpirun_is_a_problem_unless_the_job_runs_all_the_same(library, launcher, works, status):
    check = mpirun_check(LIBRARIES[library], "/usr/bin/mpirun", LAUNCHERS[launcher], "", works)
    assert check.status == status
    assert launcher in check.text
    assert bool(check.cure) == (status != "ok")
    assert library.split()[0] in check.text + check.cure


def test_a_mpirun_that_is_missing_or_mute_is_a_warning_and_srun_will_do():
    assert mpirun_check(FIVE, "", "", "").status == "warning"
    assert "pip install" in mpirun_check(FIVE, "", "", "").cure
    assert mpirun_check(FIVE, "", "", "/usr/bin/srun").status == "ok"
    assert mpirun_check(FIVE, "", "", "", works=True).status == "ok"
    assert mpirun_check(FIVE, "/usr/bin/mpirun", "", "").status == "warning"
    assert mpirun_check("", "/usr/bin/mpirun", LAUNCHERS["MPICH 4.1.2"], "").status == "ok"


def test_fault_tolerance_is_open_mpi_5_that_was_built_with_it():
    assert fault_check(FIVE, "").status == "ok"
    assert fault_check(FIVE, INFO.format("yes", "yes")).text == "available with mpirun --with-ft ulfm"
    assert fault_check(FIVE, INFO.format("no", "no")).status == "warning"
    assert "4.1.4" in fault_check(FOUR, INFO.format("yes", "yes")).text
    assert fault_check(FOUR, "").status == "warning"
    assert "MPICH 4.1.2" in fault_check(LIBRARIES["MPICH 4.1.2"], "").text
    assert "unknown" in fault_check("", "").text


def test_threads_must_fit_on_the_cores():
    assert threads_check({"OMP_NUM_THREADS": "1"}, 64, 4).status == "ok"
    assert threads_check({"OMP_NUM_THREADS": "4"}, 2, 8).status == "ok"
    crowded = threads_check({"OMP_NUM_THREADS": "4,2"}, 4, 8)
    assert (crowded.status, crowded.value) == ("warning", 4)
    assert "DMTL_THREADS=2" in crowded.cure
    assert threads_check({"OMP_NUM_THREADS": "8", "OPENBLAS_NUM_THREADS": "1"}, 8, 8).value == 1
    assert threads_check({}, 2, 8).status == "warning"


def test_more_ranks_than_cores_is_a_warning():
    assert cores_check(4, 4).status == "ok"
    assert cores_check(5, 4).status == "warning"
    assert cores_check(1, 1).text == "1 core for 1 rank here"


def test_root_is_refused_by_open_mpi_alone_and_only_without_leave():
    leave = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    mpirun = LAUNCHERS["Open MPI 5.0.11"]
    assert root_check(False, mpirun, {}).status == "ok"
    assert root_check(True, mpirun, leave).status == "ok"
    assert root_check(True, mpirun, {}).status == "warning"
    assert root_check(True, mpirun, {"OMPI_ALLOW_RUN_AS_ROOT": "1"}).status == "warning"
    assert root_check(True, LAUNCHERS["MPICH 4.1.2"], {}).status == "ok"


def test_a_missing_package_is_a_problem_and_an_optional_one_is_not():
    check = versions_check({"numpy": "2.1.0", "mpi4py": ""})
    assert (check.status, check.cure) == ("problem", "Install it: pip install mpi4py.")
    optional = packages_check({"report": ["numpy", "no-such-package-anywhere"]})
    assert optional.status == "ok"
    assert optional.text == "report: without no-such-package-anywhere: pip install 'dmtl[report]'"
    assert packages_check({"data": ["numpy"]}).text == "data: complete"


def test_extras_are_read_from_the_requirements():
    lines = ["numpy>=2", "pandas>=2; extra == 'data'", 'scikit-learn>=1.4 ; extra == "data"', "ruff; extra == 'dev'"]
    assert extras(lines) == {"data": ["pandas", "scikit-learn"]}


def test_a_library_that_crashes_hangs_or_is_silent_cannot_take_the_doctor_along():
    crash = [sys.executable, "-c", "import os, sys; print('half\\n', flush=True); os.abort()"]
    assert "ended with -6" in load_apart(crash).error
    said = [sys.executable, "-c", "import sys; sys.exit('first\\nRuntimeError: cannot load MPI library')"]
    assert load_apart(said) == Loaded("", 0, "RuntimeError: cannot load MPI library")
    hang = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    assert "longer than 0.2 s" in load_apart(hang, limit=0.2).error
    assert load_apart([sys.executable, "-c", ""]).library == ""
    assert "No such file" in load_apart(["/no/such/python"]).error
    speaks = [sys.executable, "-c", f"print(1); print({FIVE + chr(0)!r})"]
    assert load_apart(speaks) == Loaded(FIVE, 1)


@pytest.fixture
def patient(monkeypatch):
    """Start the doctor on a machine whose MPI library and launcher are as told."""

    def examine(loaded, launched=None, as_json=True):
        monkeypatch.setattr(doctor, "launch", lambda: launched or Launch("", 0, 1))
        monkeypatch.setattr(doctor, "load_apart", lambda: loaded)
        monkeypatch.setattr(doctor, "_load_here", lambda: loaded)
        monkeypatch.setattr(doctor, "find_mpirun", lambda: "")
        return CliRunner().invoke(cli, ["doctor", *(["--json"] if as_json else [])], standalone_mode=False)

    return examine


def test_a_healthy_machine_ends_with_0_and_a_sick_one_with_4(patient):
    well, sick = patient(Loaded(FIVE, 1)), patient(Loaded("", 0, "cannot load MPI library"))
    assert (well.return_value, sick.return_value) == (0, 4)
    assert json.loads(well.output)["problems"] == 0
    report = json.loads(sick.output)
    assert report["problems"] == 1
    names = [check["name"] for check in report["checks"]]
    assert names[:5] == ["versions", "launcher", "MPI library", "mpirun", "fault tolerance"]
    assert {check["status"] for check in report["checks"]} <= {"ok", "warning", "problem"}
    assert all(check["cure"] for check in report["checks"] if check["status"] != "ok")


def test_the_report_for_people_has_a_line_a_check_and_a_last_word(patient):
    lines = patient(Loaded("", 0, "cannot load MPI library"), as_json=False).output.splitlines()
    assert any(line.split()[:3] == ["problem", "MPI", "library"] for line in lines)
    assert lines[-1] == "There is a problem."


def test_of_several_ranks_the_lowest_speaks_and_all_say_by_their_exit_code(patient):
    first = patient(Loaded(FIVE, 1), Launch("Slurm", 0, 3))
    other = patient(Loaded(FIVE, 1), Launch("Slurm", 2, 3))
    assert (first.return_value, other.return_value) == (4, 4)
    assert other.output == ""
    assert "sees 1 rank in each" in first.output
    assert patient(Loaded(FIVE, 3), Launch("Slurm", 2, 3)).return_value == 0

#!/usr/bin/env bash
# Runs dmtl under MPI on a machine with nothing but Python, and sets up what is missing first.
#
#   ./run_mpi.sh                          the demonstration: ten people, ten ranks, two liars, four runs, a report
#   ./run_mpi.sh -n 8 --data digits ...   'dmtl run --data digits ...' on 8 ranks
#   ./run_mpi.sh --setup [EXTRA]          only set up, with the packages of that extra (data, report, mpi, dev)
#
# In a Slurm allocation it starts ranks on the nodes of that, and -n left out means one per task.
#
# PYTHON: the interpreter to make .venv with. DMTL_THREADS: BLAS threads per rank, 1 if not set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv
bin=$venv/bin

say() { printf 'run_mpi.sh: %s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    say "Python 3.11 or later is needed and was not found. Install it, or name it: PYTHON=/path/to/python3 ./run_mpi.sh"
    exit 1
}

# A system MPI is used where there is one that works; else the 'mpi' extra brings Open MPI into .venv.
system_mpirun() {
    local found
    found=$(PATH=${PATH//$bin:/} command -v mpirun || true)
    [ "$found" = "$bin/mpirun" ] || echo "$found"
}

set_up() {
    local extras=$1 stamp
    stamp=$venv/.dmtl-$(cksum < "$here/pyproject.toml" | cut -d ' ' -f 1)-$extras
    [ -e "$stamp" ] && return
    [ -x "$bin/python" ] || { say "making .venv"; "$(find_python)" -m venv "$venv"; }
    say "installing dmtl[$extras] into .venv"
    "$bin/python" -m pip install --quiet --disable-pip-version-check --editable "${here}[$extras]"
    touch "$stamp"
}

# Sets 'launcher', a command that starts ranks, and 'crowd', what it needs to start more of them than there is room for.
take() { # COMMAND...
    launcher=("$@")
    crowd=()
    [ "$1" != srun ] || crowd=(--overcommit)
    "$1" --version 2>/dev/null | grep -q 'Open MPI' || return 0
    crowd=(--oversubscribe)
    [ "$(id -u)" != 0 ] || as_root_too
    # Where it can, Open MPI is to leave the other ranks alone when one dies.
    case $("$(dirname "$1")/ompi_info" 2>/dev/null) in
        *'FT MPI support: yes'*) launcher+=(--with-ft ulfm) ;;
    esac
}

# A launcher is of use only if it starts the library that mpi4py finds: else every rank would be rank 0 of 1.
works() { # COMMAND...
    local stamp
    take "$@"
    stamp=$venv/.launcher-$(printf '%s' "${launcher[*]}" | cksum | cut -d ' ' -f 1)
    [ -e "$stamp" ] && return
    timeout 60 "${launcher[@]}" "${crowd[@]}" -n 2 "$bin/python" -c \
        'from mpi4py import MPI; import sys; sys.exit(MPI.COMM_WORLD.size != 2)' >/dev/null 2>&1 && touch "$stamp"
}

# An allocation to start ranks in; a task of a step is a rank already.
in_slurm() { [ -n "${SLURM_JOB_ID:-}" ] && [ "${SLURM_STEP_NUM_TASKS:-1}" = 1 ]; }

srun_works() { in_slurm && [[ $(srun --mpi=list 2>&1) == *pmix* ]] && works srun --mpi=pmix; }

as_root_too() { # a container's only user
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
}

if [ "${1:-}" = --setup ]; then
    set_up "${2:-data,report,mpi}"
    exit
fi
set_up data,report

mpirun=$(system_mpirun)
if ! srun_works && { [ -z "$mpirun" ] || ! works "$mpirun"; }; then
    [ -z "$mpirun" ] || say "$mpirun does not start the MPI that mpi4py finds; taking Open MPI from PyPI"
    set_up data,report,mpi
    take "$bin/mpirun"
fi
threads=${DMTL_THREADS:-1}
export OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads MKL_NUM_THREADS=$threads
room=0
tasks=$(getconf _NPROCESSORS_ONLN)
if in_slurm; then
    tasks=${SLURM_NTASKS:-$SLURM_JOB_NUM_NODES}
    room=$tasks
fi

run() { # RANKS ARGUMENTS...
    local ranks=$1 more=()
    shift
    [ "$ranks" -le "$room" ] || more=("${crowd[@]}")
    "${launcher[@]}" "${more[@]}" -n "$ranks" "$bin/dmtl" run "$@"
}

if [ $# -gt 0 ]; then
    ranks=$tasks
    case $1 in
        -n) ranks=${2:?give a number of ranks after -n}; shift 2 ;;
    esac
    run "$ranks" "$@"
    exit
fi

seed=${SEED:-0}
out=runs/demonstration
common=(--config "$here/benchmarks/suites/demonstration.toml" --seed "$seed" --overwrite)
lies=(--byzantine 2 --attack sign-flip:3)
say "ten people's watches, ten ranks, four runs of the same network"
say "1/4 everybody learns alone"
run 10 "${common[@]}" --algorithm local --out $out/alone --quiet
say "2/4 they cooperate"
run 10 "${common[@]}" --out $out/together --quiet
say "3/4 two of them lie, and everybody believes them"
run 10 "${common[@]}" "${lies[@]}" --out $out/believing --quiet
say "4/4 the same two lie, and everybody screens what they hear"
run 10 "${common[@]}" "${lies[@]}" --screen self-centred-clipping:b=2 --out $out/screening --quiet
"$bin/dmtl" report $out/alone $out/together $out/believing $out/screening --html --out $out

"""What can be known of a run before it starts: graph, screen against liars, traffic, memory. A report, never a refusal.

What cannot run even with ``--force`` is refused on the way, as ``dmtl run`` would.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import networkx as nx

from dmtl.build import Plan, plan
from dmtl.commands.console import Line, json_of, print_json, print_sections, ranks_words, span_words
from dmtl.commands.costs import Share, measure, memory_lines, share_lines, traffic_lines
from dmtl.commands.diagnosis import fault_check
from dmtl.commands.programs import ompi_info, output
from dmtl.commands.resilience import components, screen_lines
from dmtl.commands.rules import agreement_sections
from dmtl.commands.troubles import trouble_lines
from dmtl.config import load
from dmtl.registry import find
from dmtl.specs import make, parse
from dmtl.topology import Topology, facts
from dmtl.transports.mpi import find_mpirun, launch

__all__ = ["cores", "examine", "graph_lines", "print_check", "print_topology"]


def print_check(raw: Mapping[str, Any], as_json: bool, b: int | None = None) -> None:
    """Print the report on raw settings, once under MPI; raises ConfigError where they cannot run.

    ``b`` liars may sit next to each honest rank; None: those that the settings place.
    """
    launched = launch()
    # What only --force would run is shown too, with what speaks against it.
    job = plan(load({**raw, "force": True}), launched.size if launched.size > 1 else 0)
    if launched.rank:
        return
    sections = examine(job, b)
    if as_json:
        print_json({title: json_of(lines) for title, lines in sections.items()})
    else:
        print_sections(sections)


def print_topology(spec: str, ranks: int | None, weights: str, seed: int, draw: str | None, as_json: bool) -> None:
    """Print the facts of one topology, and draw it into the file ``draw``."""
    parsed = parse(spec, "topology")
    graph = make("topology", parsed).graph(ranks, seed)
    topology = Topology(graph, find("weights", weights)(graph))
    lines = [Line("topology", spec, spec), Line("weights", weights, weights), *graph_lines(topology)]
    source = graph.graph.get("source", "")
    lines.append(Line("source", source, source))
    if draw:
        from dmtl.commands.drawing import save_picture

        save_picture(graph, parsed, Path(draw))
        lines.append(Line("picture", draw, draw))
    if as_json:
        print_json(json_of(lines))
    else:
        print_sections({"graph": lines})


def examine(job: Plan, b: int | None = None) -> dict[str, list[Line]]:
    """All sections of the report; ``b`` as in ``print_check``."""
    shares = [measure(job, rank) for rank in range(job.topology.size)]
    return {
        "run": _run_lines(job, shares),
        "graph": [*graph_lines(job.topology), *_honest_lines(job)],
        "screen against liars": screen_lines(job),
        **agreement_sections(job, b),
        "traffic": traffic_lines(job, shares),
        "memory of a rank (estimate, without Python and its libraries)": memory_lines(job.pool, shares),
        "links and ranks": trouble_lines(job),
        "transport": _transport_lines(job.topology.size),
    }


def graph_lines(topology: Topology) -> list[Line]:
    """Facts of a graph and its weights, in the order in which one looks at them."""
    known, parts = facts(topology), components(topology.graph)
    word = "strongly connected" if known.directed else "connected"
    split = f"no; warning: it is not {word} and falls into {_parts(parts)}"
    degrees = {"least": known.least_degree, "mean": known.mean_degree, "greatest": known.greatest_degree}
    span = span_words(str(known.least_degree), str(known.greatest_degree))
    second, mu = known.second_eigenvalue, known.algebraic_connectivity
    never = "none: some ranks never hear of each other"
    swaps = "yes: plain averaging swaps for ever"
    unequal = "no: ranks count unequally in an average"
    return [
        Line("ranks", known.ranks, str(known.ranks)),
        Line("edges", known.edges, str(known.edges)),
        Line("connected", len(parts) == 1, "yes" if len(parts) == 1 else split),
        Line("components", parts, ""),
        Line("directed", known.directed, _yes(known.directed)),
        Line("degrees", degrees, f"{span}, mean {known.mean_degree:.3g}"),
        Line("diameter", known.diameter, never if known.diameter is None else str(known.diameter)),
        _if("bipartite_without_self_weight", known.bipartite_without_self_weight, swaps, "no"),
        _if("doubly_stochastic", known.doubly_stochastic, "yes", unequal),
        Line("second_eigenvalue", second, _number(second)),
        Line("spectral_gap", known.spectral_gap, _number(known.spectral_gap)),
        Line("rounds_to_1e6", known.rounds_to_1e6, _rounds_words(known.rounds_to_1e6)),
        Line("algebraic_connectivity", mu, _number(mu)),
        Line("vertex_connectivity", known.vertex_connectivity, _cut_words(known.vertex_connectivity)),
    ]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _if(key: str, value: bool, yes: str, no: str) -> Line:
    return Line(key, value, yes if value else no)


def _number(value: float) -> str:
    return f"{value if abs(value) > 1e-12 else 0.0:.6g}"


def _rounds_words(rounds: int | None) -> str:
    return "never" if rounds is None else f"{rounds} shrink a disagreement to a millionth"


def _cut_words(count: int | None) -> str:
    if count is None:
        return "not computed above 200 ranks"
    return f"{count}: no fewer lost ranks can cut the rest in two"


def _parts(parts: Sequence[Sequence[int]], most: int = 4) -> str:
    shown = ", ".join("{" + ranks_words(part) + "}" for part in parts[:most])
    return f"{len(parts)} components, {shown}{' and more' if len(parts) > most else ''}"


def _honest_lines(job: Plan) -> list[Line]:
    """Whether the honest ranks can still talk when nobody passes on a liar's word."""
    if not job.lies:
        return []
    graph: nx.Graph = job.topology.graph.subgraph(sorted(set(job.topology.graph) - set(job.lies)))
    parts = components(graph)
    split = f"no: without the liars it falls into {_parts(parts)}" if parts else "nobody is honest"
    return [
        _if("honest_ranks_connected", len(parts) == 1, "yes", split),
        Line("honest_components", parts, ""),
    ]


def _run_lines(job: Plan, shares: Sequence[Share]) -> list[Line]:
    config = job.config
    warnings = [warning.replace("forced: ", "refused without --force: ") for warning in job.warnings]
    if len({share.message for share in shares}) > 1:
        warnings.append("messages differ in shape between ranks, which cannot talk then. Give all the same features.")
    keys = ("data", "partition", "shift", "features", "task", "algorithm")
    names = {key: getattr(config, key) for key in keys}
    return [
        Line("ranks", len(shares), str(len(shares))),
        *(Line(key, spec, str(spec["name"])) for key, spec in names.items() if spec),
        *share_lines(shares),
        Line("rounds", config.rounds, str(config.rounds)),
        Line("warnings", warnings, "\n".join(warnings) or "none"),
    ]


def _transport_lines(ranks: int) -> list[Line]:
    """Whether MPI looks usable, without loading it, and how to start there."""
    installed, have = find_spec("mpi4py") is not None, cores()
    program = find_mpirun() or shutil.which("srun")
    missing = "mpi4py is not installed: pip install mpi4py; the simulator needs none"
    none = "none is here: pip install 'dmtl[mpi]', or load your cluster's MPI module"
    crowded = f"{have}, fewer than ranks: here Open MPI's mpirun needs --oversubscribe"
    starter = "srun" if program and program.endswith("srun") else "mpirun"
    command = f"{starter} -n {ranks} dmtl run ..."
    return [
        _if("mpi4py", installed, "is installed; 'dmtl doctor' tries whether it can be loaded", missing),
        Line("launcher", program, program or none),
        Line("cores", have, str(have) if have >= ranks else crowded),
        Line("start_with", command, f"{command}  (with the options of this check)"),
        _fault_line(find_mpirun()),
    ]


def _fault_line(mpirun: str) -> Line:
    """Whether a run can outlive its dead; mpirun is asked, because loading MPI may take this process down."""
    version = output([mpirun, "--version"]) if mpirun else ""
    found = fault_check(version, ompi_info(mpirun, version))
    return Line(
        "fault_tolerance", found.value, f"{found.text}; without: a dead rank ends the job; resume from checkpoints"
    )

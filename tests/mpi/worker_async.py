"""Asynchronous exchanges on real ranks; argv is MODE WAY [more].

WAY is 'shared' for shared memory, 'network' as between machines, 'mixed' as on two machines, odd and even ranks.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

sys.path.append(str(Path(__file__).parents[2]))

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.laplacian import Laplacian
from dmtl.algorithms.local import Local
from dmtl.algorithms.network_lasso import NetworkLasso
from dmtl.algorithms.pdmm import PDMM
from dmtl.attacks.alie import ALIE
from dmtl.attacks.silent import Silent
from dmtl.attacks.two_faced import TwoFaced
from dmtl.node import Node
from dmtl.runner import run
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.topology import Topology, metropolis
from dmtl.transports.asynchronous import connect_async
from dmtl.transports.mpi import world
from dmtl.types import Outbox
from tests.networks import network, quadratics

DONE = -1.0


def say(*words) -> None:
    print(*words, flush=True)


class Halves(NamedTuple):
    """A communicator whose odd ranks share no memory with the even ones."""

    comm: Any

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Dup(self):
        return Halves(self.comm.Dup())

    def Split_type(self, kind):
        return self.comm.Split(self.comm.rank % 2)


def connect(comm, node, way, max_age=0):
    return connect_async(Halves(comm) if way == "mixed" else comm, node, max_age, network=way == "network")


class Flat:
    """A task that is only there for its dimension, and whose gradient may do something at its n-th call."""

    smoothness = 1.0

    def __init__(self, dim, at=0, what=None) -> None:
        self.dim, self.left, self.what = dim, at, what

    def grad(self, w, rng=None):
        self.left -= 1
        if self.left == 0:
            self.what()
        return w - 1.0


def node_of(comm, graph, task, liar=None, dtype=np.float64, step=0.5):
    view = Topology(graph, metropolis(graph)).view(comm.rank)
    return Node(view, task, Diffusion(step), Average(), liar, dtype)


class Blind:
    """The writer's counters as a reader without the second look sees them: nothing was ever begun."""

    def __init__(self, head) -> None:
        self.head = head

    def __getitem__(self, place):
        return 0 if place == 0 else self.head[place]


def read_rows(exchange, reads, until_torn):
    """Look at so many new rows, or until one is torn; return new rows, torn rows, how often a counter went back."""
    new, torn, back, last = 0, 0, 0, 0.0
    while not (torn if until_torn else new >= reads):
        inbox = exchange.receive()
        if inbox.age[0] == 0:
            row = inbox.messages[0, 0]
            new += 1
            torn += row.min() != row.max()
            back += row.min() <= last
            last = row.max()
    return new, torn, back


def torn(comm, way, blind, *sizes) -> None:
    """Rank 0 says rows of one number as quickly as it can; the others look whether they are whole."""
    for size in sizes:
        d, reads = map(int, size.split(":"))
        exchange = connect(comm, node_of(comm, nx.star_graph(comm.size - 1), Flat(d)), way)
        row = np.zeros(d)
        if comm.rank == 0:
            done = False
            while not done:
                for _ in range(20):
                    row += 1
                    exchange.send(Outbox((row,)))
                inbox = exchange.receive()
                done = (inbox.age >= 0).all() and (inbox.messages[:, 0, 0] == DONE).all()
        else:
            if blind == "blind":
                source = exchange._ends.sources[0]
                source._head = Blind(source._head)
            say("read", *read_rows(exchange, reads, blind == "blind"))
            exchange.send(Outbox((np.full(d, DONE),)))
        exchange.close()


def stop(comm, way, fifo) -> None:
    """Rank 2 of a ring stands still inside its round 3 until somebody writes to ``fifo``."""
    task = Flat(3, 4 if comm.rank == 2 else 0, lambda: Path(fifo).read_text())
    node = node_of(comm, nx.cycle_graph(comm.size), task)
    exchange = connect(comm, node, way)
    state = run(node, exchange, 500)
    say("ran", comm.rank, state.view.round)
    exchange.close()


def kill(comm, way, *victims) -> None:
    """The victims kill themselves; their neighbours go on until they have noticed, and 50 rounds longer."""
    dead = sorted(map(int, victims))
    task = Flat(3, 50 if comm.rank in dead else 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    node = node_of(comm, nx.cycle_graph(comm.size), task)
    exchange = connect(comm, node, way)
    missed = [rank for rank in node.view.sources if rank in dead]
    state = run(node, exchange, 300)
    while not (exchange.lost.keys() >= set(missed) and np.allclose(state.x, 1.0)):
        state = run(node, exchange, state.view.round + 1, state=state)
    rows = [node.view.sources.index(rank) for rank in missed]
    seen = []
    state = run(node, exchange, state.view.round + 50, lambda state, inbox: seen.append(inbox.age[rows]), state=state)
    assert (np.array(seen) == -1).all()
    assert all(0 <= loss.round < state.view.round - 50 for loss in exchange.lost.values())
    exchange.leave()
    say("survived", comm.rank, *exchange.lost)
    os._exit(0)


def ages(comm, way) -> None:
    """Rank 0 speaks when it is told to; rank 1 looks, and knows what it must see."""
    exchange = connect(comm, node_of(comm, nx.path_graph(2), Flat(2)), way, 3)
    if comm.rank == 0:
        while True:
            while not comm.Iprobe(1):
                exchange.receive()  # between machines this pushes on what could not leave at once
            values = comm.recv(source=1)
            for value in values:
                exchange.send(Outbox((np.full(2, value),)))
            if not values:
                return exchange.close()
            comm.send(None, 1)

    def look():
        inbox = exchange.receive()
        return int(inbox.age[0]), float(inbox.messages[0, 0, 0]), bool(inbox.valid[0])

    def hear(*values):
        comm.send(values, 0)
        comm.recv(source=0)
        seen = look()
        while way == "network" and seen[:2] != (0, values[-1]):
            seen = look()
        return seen

    assert [look()[0] for _ in range(5)] == [-1] * 5
    assert hear(1.0) == (0, 1.0, True)
    assert [look() for _ in range(2)] == [(1, 1.0, True), (2, 1.0, True)]
    assert hear(2.0, 3.0) == (0, 3.0, True)
    assert [look()[::2] for _ in range(5)] == [(1, True), (2, True), (3, True), (-1, False), (-1, False)]
    assert not np.isfinite(exchange.box.heard).all()  # or a plain sum would use it
    assert hear(4.0) == (0, 4.0, True)
    assert hear(np.nan)[::2] == (0, False) if way == "shared" else True
    assert hear(5.0) == (0, 5.0, True)
    assert [look()[0] for _ in range(5)] == [1, 2, 3, -1, -1]
    comm.send((), 0)
    while look()[0] != 0:
        pass
    assert [look() for _ in range(20)] == [(0, 5.0, True)] * 20
    assert exchange.lost == {}
    assert (exchange.round > 40, exchange.waiting_since) == (True, 0.0)
    exchange.close()
    say("ages are right")


def edges(comm, way) -> None:
    """A message per edge, then one for all; every rank has other neighbours, so that places differ."""
    for dtype in (np.float32, np.float64):
        graph = nx.gnp_random_graph(comm.size, 0.5, seed=3)
        node = node_of(comm, graph, Flat(7), Silent(), dtype)
        exchange = connect(comm, node, way)
        block = np.empty((len(node.view.targets), 1, 7), dtype)
        block[:] = np.reshape([100 * comm.rank + target for target in node.view.targets], (-1, 1, 1))
        for outbox, to_me in ((Outbox((), block), comm.rank), (Outbox((np.full(7, 100 * comm.rank + 99),)), 99)):
            exchange.send(outbox)
            expected = np.reshape([100 * source + to_me for source in node.view.sources], (-1, 1, 1))
            inbox = exchange.receive()
            while not (inbox.messages == expected).all():
                inbox = exchange.receive()
            assert inbox.messages.dtype == dtype
            comm.Barrier()
        exchange.close()
    say("every edge has its own words")


def kinds(comm, way) -> None:
    """Every kind of method and liar gets through its rounds; the silent one is never heard."""
    liars = {0: ALIE(), 2: Silent(), 4: TwoFaced(0.1)}
    methods = (Diffusion(0.1), Laplacian(), PDMM(), NetworkLasso(strength=0.1), Local())
    for method in methods:
        node = network(nx.complete_graph(comm.size), method, quadratics(comm.size), liars=liars)[comm.rank]
        exchange = connect(comm, node, way, 1000)
        heard = np.zeros((comm.size - 1,), bool)

        def record(state, inbox, heard=heard) -> None:
            heard |= inbox.age >= 0

        state = run(node, exchange, 200, record)
        while node.rows and sum(heard) < comm.size - 2 + (comm.rank == 2):
            state = run(node, exchange, state.view.round + 1, record, state=state)
        exchange.close()
        assert np.isfinite(state.x).all()
        if node.rows and comm.rank != 2:
            assert [rank for rank, was in zip(node.view.sources, heard, strict=True) if not was] == [2]
    say("all kinds ran")


def objective(xs, tasks, weights, strength) -> float:
    """Of all models together: the losses, and the Laplacian regulariser."""
    apart = ((xs[:, None] - xs[None]) ** 2).sum(axis=2)
    return sum(task.loss(x) for task, x in zip(tasks, xs, strict=True)) + strength / 4 * (weights * apart).sum()


def phase(comm, node, exchange, state):
    """Go on until every rank has heard three new messages of each neighbour since all were done with the last phase."""
    news = np.zeros(len(node.view.sources))

    def record(state, inbox) -> None:
        nonlocal news
        news += inbox.age == 0

    while news.min(initial=3) < 3:
        state = run(node, exchange, state.view.round + 1, record, state=state)
    all_have = comm.Ibarrier()
    while not all_have.Test():
        state = run(node, exchange, state.view.round + 1, state=state)
    return state


def converge(comm, way) -> None:
    """In each phase the error of the worst rank falls by at least 1 - mu = 0.75, however old the messages are."""
    graph = nx.cycle_graph(comm.size) if comm.size > 2 else nx.path_graph(comm.size)
    tasks, weights = quadratics(comm.size), metropolis(graph)
    for method, strength in ((Laplacian(0.5, 0.25), 0.5), (Diffusion(0.25), 0.0)):
        nodes = network(graph, method, tasks)
        node = nodes[comm.rank]
        exchange = connect(comm, node, way)
        state = node.start()
        for _ in range(80):
            state = phase(comm, node, exchange, state)
        state = run(node, exchange, state.view.round + 80, state=state)
        exchange.close()
        ours = np.array(comm.allgather(state.x))
        theirs = np.array([state.x for state in simulate(nodes, 1000)])
        values = [objective(xs, tasks, weights, strength) for xs in (ours, theirs)]
        assert abs(values[0] - values[1]) < 1e-6, values
        assert np.abs(ours - theirs).max() < 1e-6
    say("converged")


if __name__ == "__main__":
    mode, way, *more = sys.argv[1:]
    globals()[mode](world(), way, *more)

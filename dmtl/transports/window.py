"""The memory that the ranks of one machine share: an MPI window with a segment for each."""

from __future__ import annotations

from typing import cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dmtl.errors import TransportError

__all__ = ["Window"]


class Window:
    """Segments that any rank of this machine may look into without asking their owners."""

    def __init__(self, comm: MPI.Intracomm, size: int) -> None:
        """``size``: bytes of this rank's own segment. Collective over ``comm``.

        Raises TransportError where there is not so much shared memory.
        """
        self._comm = cast(MPI.Intracomm, comm.Split_type(MPI.COMM_TYPE_SHARED))
        info = MPI.Info.Create({"alloc_shared_noncontig": "true"})  # a segment lies near its owner's core
        try:
            self._window = MPI.Win.Allocate_shared(size, 1, info, self._comm)
        except MPI.Exception as error:
            raise TransportError(
                f"the {self._comm.size} ranks of this machine cannot share {size} bytes each: {error}. "
                f"Give it more shared memory (/dev/shm), share a smaller model, or use the synchronous transport."
            ) from error
        info.Free()
        self._window.Lock_all(MPI.MODE_NOCHECK)
        ranks = MPI.Group.Translate_ranks(self._comm.group, None, comm.group)
        self.place = {rank: place for place, rank in enumerate(ranks)}
        """rank of ``comm`` -> its segment, for all ranks of this machine"""
        self.fence = self._window.Sync
        """a full memory barrier: no load and no store crosses it; local, nobody is asked"""

    def segment(self, rank: int) -> NDArray[np.uint8]:
        """The memory of a rank of this machine, as it is and as it will be."""
        memory: NDArray[np.uint8] = np.asarray(self._window.Shared_query(self.place[rank])[0])
        return memory

    def meet(self) -> None:
        """Wait until every rank of this machine has prepared its segment; collective."""
        self.fence()
        self._comm.Barrier()
        self.fence()

    def close(self) -> None:
        """Free the memory; collective, so all ranks of this machine must be alive."""
        self._window.Unlock_all()
        self._window.Free()
        self._comm.Free()

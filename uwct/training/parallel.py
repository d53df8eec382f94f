"""The devices that train together: those of this process, or of many processes on many hosts.

Contract: every process calls the same functions in the same order. State and model live replicated on the local
devices; batches are `[local devices, N, ...]`, each device with its own part.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"


def initialize(coordinator: str | None, processes: int, process: int | None, *, cluster: bool = False) -> None:
    """Joins this process to the others, before anything else is done with JAX.

    `coordinator` is `host:port` of process 0, the same in all `processes`, which are counted from 0 by `process`. With
    `cluster` all three come from the environment instead: Cloud TPU, Slurm, Open MPI, Kubernetes, or JAX's own variable
    JAX_COORDINATOR_ADDRESS. Raises ValueError for arguments that do not belong together, or without such a cluster.
    """
    if cluster:
        if coordinator is not None or processes != 1 or process is not None:
            raise ValueError("cluster takes the processes from the environment: leave out coordinator and processes")
        jax.distributed.initialize()
    elif processes > 1:
        if coordinator is None or process is None or not 0 <= process < processes:
            raise ValueError(f"{processes} processes need a coordinator, and each its number from 0 to {processes - 1}")
        jax.distributed.initialize(coordinator, processes, process)
    elif coordinator is not None or process is not None:
        raise ValueError("coordinator and process belong to more than one process; say how many")


@dataclasses.dataclass(frozen=True)
class Devices:
    """The local devices, and what spans all devices of all processes."""

    local: Sequence[Any]

    @classmethod
    def all(cls) -> "Devices":
        """All local devices."""
        return cls(jax.local_devices())

    @property
    def single(self) -> bool:
        """Whether one device trains alone."""
        return len(self.local) == 1 and jax.process_count() == 1

    @property
    def count(self) -> int:
        """How many devices train together, in all processes."""
        return len(self.local) * jax.process_count()

    @property
    def split(self) -> NamedSharding:
        """Where a batch `[local devices, N, ...]` lives."""
        return self._sharding(PartitionSpec(AXIS))

    def share(self, batch: int) -> int:
        """This process's part of a batch; raises ValueError when the batch cannot be split evenly."""
        if batch % self.count:
            raise ValueError(f"batch {batch} cannot be split over {self.count} devices")
        return batch // jax.process_count()

    def replicate(self, tree: Any) -> Any:
        """The arrays of a tree on every local device."""
        return jax.device_put(tree, self._sharding(PartitionSpec()))

    def pmap(self, function: Callable[..., Any], *, donate_argnums: int) -> Callable[..., Any]:
        """`function(state, model, batch)` on every device of every process; only the batch differs between them."""
        local = self.local if jax.process_count() == 1 else None  # with several processes JAX takes all devices
        return jax.pmap(
            function,
            AXIS,
            in_axes=(None, None, 0),
            out_axes=(None, None),
            devices=local,
            donate_argnums=donate_argnums,
        )

    def _sharding(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(Mesh(np.array(self.local), (AXIS,)), spec)


def to_global(tree: Any) -> Any:
    """A tree replicated on the local devices, as one of arrays that span all processes: what a checkpoint holds."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.host_local_array_to_global_array(tree, _global_mesh(), PartitionSpec())


def to_local(tree: Any) -> Any:
    """The inverse of `to_global`."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.global_array_to_host_local_array(tree, _global_mesh(), PartitionSpec())


def total(values: dict[str, float]) -> dict[str, float]:
    """The sums over all processes; every process has the same names."""
    if jax.process_count() == 1:
        return values
    rows = multihost_utils.process_allgather(np.array([values[name] for name in sorted(values)]))
    return dict(zip(sorted(values), (float(value) for value in rows.sum(0)), strict=True))


def is_first() -> bool:
    """Whether this process is the one that prints and writes what all share."""
    return jax.process_index() == 0


def _global_mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), (AXIS,))

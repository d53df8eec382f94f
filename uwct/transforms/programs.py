"""How functions become programs: which form a platform takes, and how long one may be compiled."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import jax
import jaxlib
from jax import Array
from jax.extend.core import Primitive, get_opaque_trace_state
from jax.interpreters import batching, mlir

# XLA's older loops compile in two thirds of the time of those by MLIR, and run some tenth longer. jaxlib 0.10 has them,
# 0.12 has not, and an option that it does not know would be an error.
_OLDER: Any = {"xla_cpu_use_fusion_emitters": False} if jaxlib.version.__version_info__ < (0, 11) else {}
QUICK: Any = _OLDER | {"xla_cpu_parallel_codegen_split_count": 2}
# Where all that takes time is in libraries, LLVM need not optimise the rest: it compiles in a third of the time.
UNOPTIMISED: Any = QUICK | {"xla_backend_optimization_level": 0}


def _untraced() -> Any:
    """The state in which nothing is traced: a new thread's, since a module may be imported while something is."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(get_opaque_trace_state).result()


NO_TRACE = _untraced()
config: Any = jax.config  # whose flags type checkers do not see


def tracing() -> bool:
    """Whether a program, a derivative or a `vmap` is being traced."""
    return bool(get_opaque_trace_state() != NO_TRACE)


Function = TypeVar("Function", bound=Callable[..., Any])


class Keeper(Protocol):
    """What keeps programs from one process to the next."""

    def call(self, jitted: Any, arguments: dict[str, Any], static: Sequence[str]) -> Any:
        """`jitted(**arguments)`, of which those named in `static` are static.

        Of `jax.ShapeDtypeStruct`s it gives such, and nothing is computed.
        """

    def expecting(self, walk: Callable[[], Any]) -> AbstractContextManager[None]:
        """See `expecting`."""


_keeper: Callable[[], Keeper] | None = None


def keep_by(keeper: Callable[[], Keeper]) -> None:
    """From now on what `keeper` gives calls the programs of `quick_jit` that stand alone, on one CPU."""
    global _keeper
    _keeper = keeper


def _alone_on_cpu() -> bool:
    return not tracing() and jax.default_backend() == "cpu"


def _kept_by() -> Keeper | None:
    """What keeps a program that stands alone on a CPU."""
    return _keeper() if _keeper and jax.device_count() == 1 and not config.jax_disable_jit else None


def expecting(walk: Callable[[], Any]) -> AbstractContextManager[None]:
    """Within it, the first program that is to be compiled has those compiled at once that `walk` will want.

    `walk` goes the way of what is done within, with `jax.ShapeDtypeStruct`s for arrays: programs of `quick_jit` give
    such, and it computes nothing else of them. Compiled one after the other, programs leave most cores idle.
    """
    keeper = _alone_on_cpu() and _kept_by()
    return keeper.expecting(walk) if keeper else nullcontext()


def as_shapes(tree: Any) -> Any:
    """What programs take for the arrays of a tree where nothing is to be computed."""
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), tree)


def quick_jit(
    *static: str, small: Callable[..., bool] = lambda *args, **kwargs: True, options: Any = QUICK
) -> Callable[[Function], Function]:
    """`jax.jit` for one of a picture's many programs, compiled quickly where its arguments are `small`.

    `static` names its static arguments, `options` say how quickly. That is on a CPU only; within another program it is
    a part of that.
    """

    def decorate(function: Function) -> Function:
        plain = jax.jit(function, static_argnames=static)
        quick = jax.jit(function, static_argnames=static, compiler_options=options)
        named = signature(function).bind

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            alone = _alone_on_cpu()
            jitted = quick if alone and small(*args, **kwargs) else plain
            if alone and (keeper := _kept_by()):
                return keeper.call(jitted, named(*args, **kwargs).arguments, static)
            return jitted(*args, **kwargs)

        return cast(Function, call)

    return decorate


def by_platform(*args: Array, cpu: Callable[..., Any], default: Callable[..., Any], static: Any, like: Any) -> Any:
    """`cpu(*args, *static)` in programs for a CPU, `default(*args, *static)` in others.

    `lax.platform_dependent` does the same, but traces both forms wherever it stands, a tenth of the time of a short
    command; here the form of another platform is never looked at.

    Both give arrays of the shapes and dtypes of `like`, a pytree of `jax.ShapeDtypeStruct`. The two are functions of a
    module, and what is in the tuple `static` can be hashed, so that what is compiled serves the next call. It works
    under `jit` and `vmap`; derivatives are the caller's affair.
    """
    tree: Any
    leaves, tree = jax.tree.flatten(like)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return tree.unflatten(platform_p.bind(*args, cpu=cpu, default=default, static=static, shapes=shapes))


platform_p = Primitive("by_platform")
platform_p.multiple_results = True


@platform_p.def_abstract_eval
def _shapes(*args: Any, shapes: Any, **_: Any) -> Any:
    return [args[0].update(shape=shape, dtype=dtype, weak_type=False) for shape, dtype in shapes]


_compiled = jax.jit(platform_p.bind, static_argnames=("cpu", "default", "static", "shapes"))


@platform_p.def_impl
def _compute(*args: Array, cpu: Callable[..., Any], default: Callable[..., Any], static: Any, shapes: Any) -> Any:
    if config.jax_disable_jit:
        form = cpu if jax.default_backend() == "cpu" else default
        return jax.tree.leaves(form(*args, *static))
    return _compiled(*args, cpu=cpu, default=default, static=static, shapes=shapes)


class Mapped(NamedTuple):
    """A form under `vmap`; two of the same are equal, so that what is compiled for one serves the other."""

    form: Callable[..., Any]
    axes: tuple[int | None, ...]
    static: Any

    def __call__(self, *args: Array) -> Any:
        return jax.vmap(lambda *args: jax.tree.leaves(self.form(*args, *self.static)), in_axes=self.axes)(*args)


def _batch(args: Any, axes: Any, *, cpu: Any, default: Any, static: Any, shapes: Any) -> Any:
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
    forms = {name: Mapped(form, tuple(axes), static) for name, form in (("cpu", cpu), ("default", default))}
    batched = tuple(((size, *shape), dtype) for shape, dtype in shapes)
    found = platform_p.bind(*args, **forms, static=(), shapes=batched)
    return found, [0] * len(found)


batching.primitive_batchers[platform_p] = _batch


def _lowered(name: str) -> Any:
    return mlir.lower_fun(
        lambda *args, static, shapes, **forms: jax.tree.leaves(forms[name](*args, *static)), multiple_results=True
    )


mlir.register_lowering(platform_p, _lowered("default"))
mlir.register_lowering(platform_p, _lowered("cpu"), platform="cpu")

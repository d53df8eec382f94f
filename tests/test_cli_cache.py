import gc

from uwct.cli import cache


def test_programs_are_forgotten_when_pictures_of_too_many_sizes_have_come_by(monkeypatch):
    forgotten = []
    monkeypatch.setattr(cache, "_shapes", set())
    monkeypatch.setattr(cache.jax, "clear_caches", lambda: forgotten.append(True))
    for width in [*range(cache.MOST_SHAPES), 3]:
        cache.make_room((1, width))
    assert not forgotten
    cache.make_room((2, 2))
    cache.make_room((2, 2))
    assert forgotten == [True]


def test_the_users_own_flags_for_the_compiler_come_last(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    monkeypatch.setattr(cache.jax.config, "update", lambda *_: None)
    cache.start_quickly()
    assert cache.os.environ["XLA_FLAGS"].split() == [cache.QUICKER, "--xla_dump_to=here"]


def test_what_is_imported_is_not_garbage(monkeypatch):
    monkeypatch.setattr(cache.jax.config, "update", lambda *_: None)
    monkeypatch.setenv("XLA_FLAGS", "")
    gc.unfreeze()
    cache.start_quickly()
    frozen = gc.get_freeze_count()
    assert frozen > 100_000  # objects; JAX alone makes that many
    kept = [[] for _ in range(1000)]  # what a run makes is collected as ever, also after another command in one process
    cache.start_quickly()
    assert gc.get_freeze_count() < frozen + len(kept)

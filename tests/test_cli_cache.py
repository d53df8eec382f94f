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

"""Arrays in files: equal contents, equal names; whole or absent."""

import numpy as np

from cgan_jax import array_cache
from cgan_jax.array_cache import content_key


def test_equal_parts_have_equal_names_and_others_do_not():
    x = np.arange(6, dtype=np.float32)
    key = content_key("name", x, {"b": 1, "a": [2]})
    assert key == content_key("name", x.copy(), {"a": [2], "b": 1})
    others = [
        content_key("other", x, {"a": [2], "b": 1}),
        content_key("name", x.reshape(2, 3), {"a": [2], "b": 1}),
        content_key("name", x.astype(np.float64), {"a": [2], "b": 1}),
        content_key("name", x + 1, {"a": [2], "b": 1}),
        content_key("name", x, {"a": [3], "b": 1}),
    ]
    assert len({key, *others}) == 6


def test_a_view_has_the_name_of_its_values():
    x = np.arange(12).reshape(3, 4)
    assert content_key(x[:, ::2]) == content_key(x[:, ::2].copy())


def test_what_was_saved_is_read_and_nothing_else_lies_there(tmp_path):
    path = tmp_path / "new" / "x.npz"
    assert array_cache.load(path) is None
    array_cache.save(path, {"a": np.arange(3), "b": np.array(2.5)})
    found = array_cache.load(path)
    assert found["a"].tolist() == [0, 1, 2]
    assert float(found["b"]) == 2.5
    assert [file.name for file in path.parent.iterdir()] == ["x.npz"]

import numpy as np
import pytest
from test_leaks import clusters, found, with_copies

from retrainlab.analysis import neighbours


def test_neighbours_known_answer():
    features = np.random.default_rng(0).normal(0, 1, (300, 20)).astype(np.float32)
    points = (features - features.mean(0)) / features.std(0)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    similar = points @ points.T
    np.fill_diagonal(similar, -2)
    rows, distances = neighbours.nearest(features, 7)
    assert np.array_equal(rows, np.argsort(-similar, axis=1)[:, :7])
    assert 1 - distances**2 / 2 == pytest.approx(np.sort(similar, axis=1)[:, ::-1][:, :7], abs=1e-5)


def test_many_images_are_searched_in_fewer_dimensions_and_measured_in_all(monkeypatch):
    features, label, planted = with_copies(*clusters("few dimensions", 1500, 5, 0, dim=300), 0.1, 0)
    rows, distances = neighbours.nearest(features)
    monkeypatch.setattr(neighbours, "_EXACT", 1000)
    monkeypatch.setattr(neighbours, "_BLOCK", 2**21)  # several blocks, the last one smaller
    quick, near = neighbours.nearest(features)
    same = quick[:, 0] == rows[:, 0]
    assert same.mean() > 0.99 and near[same, 0] == pytest.approx(distances[same, 0], abs=1e-6)
    assert planted <= found(features, label)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_images(n):
    rows, distances = neighbours.nearest(np.eye(3, 8, dtype=np.float32)[:n])
    assert rows.shape == distances.shape == (n, max(0, n - 1))


def test_equal_images_have_no_distance():
    features = np.random.default_rng(0).normal(0, 1, (200, 500)).astype(np.float32)
    features[100:] = features[:100]
    rows, distances = neighbours.nearest(features, 3)
    assert (rows[:, 0] == (np.arange(200) + 100) % 200).all() and distances[:, 0].max() < 1e-6 < 0.1 < distances[
        :, 1
    ].min()


def crowd(n: int, dim: int = 160, seed: int = 0) -> np.ndarray:
    """Points in clusters, as bottlenecks lie; the last tenth are near-duplicates of the first."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 1, (30, dim))
    points = centres[random.integers(0, 30, n)] + random.normal(0, 1, (n, 12)) @ random.normal(0, 1, (12, dim))
    few = n // 10
    points[-few:] = points[:few] + random.normal(0, 0.01, (few, dim))
    return points.astype(np.float32)


def test_searching_in_cells_is_searching_all_where_all_cells_are_searched(monkeypatch):
    points = crowd(5000)
    whole = neighbours.nearest(points, 10)
    monkeypatch.setattr(neighbours, "_ALL", 0)
    monkeypatch.setattr(neighbours, "_A_CELL", 700)
    near, away = neighbours.nearest(points, 10)  # 7 cells, of which 8 are searched
    assert np.array_equal(near, whole[0]) and np.allclose(away, whole[1], atol=1e-6)


def test_searching_in_few_cells_finds_near_duplicates_and_nearly_all_neighbours(monkeypatch):
    points = crowd(6000)
    whole, far = neighbours.nearest(points, 10)
    monkeypatch.setattr(neighbours, "_ALL", 0)
    monkeypatch.setattr(neighbours, "_A_CELL", 100)
    near, away = neighbours.nearest(points, 10)
    few = len(points) // 10
    assert (near[-few:, 0] == np.arange(few)).all() and (
        near[:few, 0] == np.arange(len(points) - few, len(points))
    ).all()
    same = np.mean([len(set(a) & set(b)) for a, b in zip(near, whole, strict=True)]) / 10
    assert same > 0.7 and np.median(away[:, -1] / far[:, -1]) < 1.1
    assert (away >= far - 1e-6).all() and (near != np.arange(len(points))[:, None]).all()

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

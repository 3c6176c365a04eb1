"""Faiss and torch bring an OpenMP runtime each; both import orders must work in one process."""

import subprocess
import sys

import pytest

WORK = """
import numpy as np
points = np.random.default_rng(0).standard_normal((2000, 32)).astype(np.float32)
kmeans = faiss.Kmeans(32, 8, niter=5, seed=1)
kmeans.train(points)
index = faiss.IndexFlatL2(32)
index.add(points)
distances, nearest = index.search(points[:50], 3)
assert (nearest[:, 0] == np.arange(50)).all()
square = torch.from_numpy(points) @ torch.from_numpy(points).T
layer = torch.nn.Linear(32, 32)
layer(torch.from_numpy(points)).sum().backward()
kmeans.train(points)
assert np.allclose(square.numpy(), points @ points.T, atol=1e-3)
print("works")
"""
ORDERS = {
    "load_faiss": "from ssvh_model.faiss_import import load_faiss\nfaiss = load_faiss()\nimport torch",
    "torch first": "import torch\nimport faiss",
    "faiss first": "import faiss\nimport torch",
}


@pytest.mark.parametrize("order", ORDERS)
def test_both_import_orders_work(order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORDERS[order] + WORK], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and "works" in done.stdout, done.stderr[-2000:]

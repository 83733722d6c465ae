"""Machines to compute on: a real Dask scheduler, and worker processes that are started anew where they were killed."""

import os
import subprocess
import sys
import time

import distributed

from retrainlab.bottlenecks import cluster

THERE = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # workers import what tests do
WORKER = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard", "--nthreads", "1"]


class Machines:
    """A scheduler and its workers, by default three."""

    def __init__(self):
        self.scheduler = distributed.LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1")
        self.address = self.scheduler.scheduler_address
        self.processes: list[subprocess.Popen] = []

    def three(self) -> list[subprocess.Popen]:
        self.processes = [process for process in self.processes if process.poll() is None]
        self.processes += [self.start() for _ in range(3 - len(self.processes))]
        while len(cluster.current().nthreads()) != 3:
            time.sleep(0.05)
        return self.processes

    def start(self, *before: str) -> subprocess.Popen:
        """Start a worker, by a command that runs what follows it."""
        return subprocess.Popen([*before, *WORKER, self.address], env=THERE, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.scheduler.close()

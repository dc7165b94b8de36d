"""A run in a bucket on a cluster whose nodes have their own caches:  python bucket_cluster.py URI KIND CACHE RESULT"""

import sys
from pathlib import Path

from ray.cluster_utils import Cluster
from ray_kit import prepared_run

from minidisc_ray.api import run_prepared

if __name__ == "__main__":
    uri, kind, worker_cache, result = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=2, env_vars={"MINIDISC_CACHE": worker_cache})
    try:
        prepared = prepared_run(uri, kind, f"compute.address={cluster.address}")
        Path(result).write_text(run_prepared(prepared).model_dump_json(), encoding="utf-8")
    finally:
        cluster.shutdown()

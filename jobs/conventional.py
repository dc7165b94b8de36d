"""Run conventional distillation as a Ray job.

ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/conventional.py RECIPE
"""

import sys

from minidisc_ray.cli import main

if __name__ == "__main__":
    main(["run", "--set", "schedule.kind=conventional", *sys.argv[1:]])

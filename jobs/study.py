"""Run a study as a Ray job.

ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/study.py STUDY --storage DIR
"""

import sys

from minidisc_ray.cli import main

if __name__ == "__main__":
    main(["study", *sys.argv[1:]])

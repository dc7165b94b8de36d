"""A study as a Ray job:  ray job submit --working-dir . -- python jobs/study.py studies/table-05.yaml --storage DIR"""

import sys

from minidisc_ray.cli import main

if __name__ == "__main__":
    main(["study", *sys.argv[1:]])

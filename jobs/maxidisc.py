"""A MaxiDisc sweep, one trial for each scale, as a Ray job:  ray job submit --working-dir . -- python jobs/maxidisc.py RECIPE"""

import sys

from minidisc_ray.cli import main

if __name__ == "__main__":
    main(["run", "--set", "schedule.kind=maxidisc", *sys.argv[1:]])

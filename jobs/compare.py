"""Print the comparison table of finished runs, as a Ray job.

ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/compare.py RUN...
"""

import sys

from minidisc_ray.cli import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])

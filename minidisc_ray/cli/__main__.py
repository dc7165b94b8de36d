"""``python -m minidisc_ray.cli`` is ``minidisc``."""

from minidisc_ray.cli import main

if __name__ == "__main__":
    main()

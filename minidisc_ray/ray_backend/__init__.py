"""The only room that imports Ray: jobs, sweeps, resources, seconds held."""

from minidisc_ray.ray_backend.run import run_on_ray

__all__ = ["run_on_ray"]

"""The only room that imports Ray: jobs, sweeps, resources, seconds held."""

"""The only room that imports Ray: jobs, sweeps, resources, seconds held."""

import os

# Read when Ray is imported. Without it the thread of a run that was stopped would start another Ray by its next call.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

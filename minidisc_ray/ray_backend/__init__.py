"""Runs trials on a Ray cluster; the only room that imports Ray."""

import os

# Ray reads this when it is imported. Without it the thread of a stopped run would start another Ray by its next call.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

"""Fixtures that several rooms share; models and rows themselves are made in ``tiny_models``."""

import pytest
import torch
from tiny_models import FAMILY_NAMES, tiny_model
from transformers import PreTrainedModel

torch.set_num_threads(1)


@pytest.fixture(params=FAMILY_NAMES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(family: str) -> PreTrainedModel:
    """A tiny model in eval mode, fresh for each test."""
    return tiny_model(family)

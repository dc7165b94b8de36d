import pytest
from ship_kit import Shipped, make_shipped


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These install packages and train: minutes each."""
    for item in items:
        if "/ship/" in item.nodeid:
            item.add_marker(pytest.mark.ship)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return make_shipped(tmp_path_factory.mktemp("shipped"))

import pytest
import yaml

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.tracking import without_password

SECRET = "s3cr@t%2F1"
URI = f"postgresql://ann:{SECRET}@db:5432/runs"


def test_tracking_is_off_unless_asked_for():
    assert resolve({}).track.kind == "none"
    assert resolve({"track": {"kind": "mlflow"}}).track.uri is None


def test_a_password_is_never_written_and_still_known_after_a_round_trip():
    config = resolve({"track": {"kind": "mlflow", "uri": URI}})
    written = yaml.safe_dump(config.model_dump(mode="json")) + config.model_dump_json() + repr(config)
    assert SECRET not in written
    assert "postgresql://ann:***@db:5432/runs" in written
    # On its way through the pipeline a config is dumped and read again.
    assert resolve(config.model_dump(mode="json"), ["seed=1"]).track.uri == URI


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://host:5000", "http://host:5000"),
        ("/a/folder", "/a/folder"),
        ("file:///home/me@work/runs", "file:///home/me@work/runs"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("https://token@host/x", "https://token@host/x"),
        ("https://u:p@host/x", "https://u:***@host/x"),
        ("mysql://host/db?user=u&password=p&x=1", "mysql://host/db?user=u&password=***&x=1"),
    ],
)
def test_addresses_as_anybody_may_read_them(uri, shown):
    assert without_password(uri) == shown


def test_a_mistake_in_an_address_does_not_quote_it():
    with pytest.raises(UserError, match=r"^track\.uri: not a URI") as refused:
        resolve({"track": {"kind": "mlflow", "uri": "http://ann:hunter2@host:port/"}})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("price", [-1, "free", True])
def test_prices_are_numbers_from_zero_up(price):
    with pytest.raises(UserError, match=r"compute\.price_per_device_hour"):
        resolve({"compute": {"price_per_device_hour": price}})

"""What is said about a node that does not fit. Nodes that come and go stand in tests/integration."""

from nas.records import JSON
from workers.cluster.nodes import difference


def test_a_difference_names_what_differs() -> None:
    expected: JSON = {"device_name": "A", "batch": 1}
    assert difference(expected, {"device_name": "B", "batch": 1}) == "device_name is 'B', expected 'A'"
    assert difference(expected, None) == "device_name is None, expected 'A', batch is None, expected 1"

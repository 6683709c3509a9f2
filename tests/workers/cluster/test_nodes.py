"""What is said about a node that does not fit. Nodes that come and go stand in tests/integration."""

import pytest

from nas.records import JSON
from workers.cluster.nodes import difference, room_on


def test_a_difference_names_what_differs() -> None:
    expected: JSON = {"device_name": "A", "batch": 1}
    assert difference(expected, {"device_name": "B", "batch": 1}) == "device_name is 'B', expected 'A'"
    assert difference(expected, None) == "device_name is None, expected 'A', batch is None, expected 1"


@pytest.mark.parametrize(
    ("cores", "gpus", "share", "room"),
    [
        (4.0, 0.0, 0.0, 4),
        (4.0, 2.0, 0.6, 2),
        (4.0, 2.0, 0.5, 4),
        (2.0, 8.0, 1.0, 2),
        (8.0, 5.0, 2.0, 2),
        (0.0, 1.0, 1.0, 0),
    ],
)
def test_a_share_of_a_gpu_lies_on_one_gpu(cores: float, gpus: float, share: float, room: int) -> None:
    assert room_on({"Resources": {"CPU": cores, "GPU": gpus}}, share) == room

"""The name that an exported model has by default, whatever its study is called."""

import pytest

from search_spaces.zoo.index import require_name
from workers.export import default_name


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        ("hybrid_layout-nano-digits", "hybrid_layout-nano-digits-t7"),
        ("a study.v2", "a-study-v2-t7"),
        ("--help", "help-t7"),
        ("größer", "gr--er-t7"),
        ("数", "study-t7"),
        ("...", "study-t7"),
        ("x" * 200, "x" * 108 + "-t7"),
    ],
)
def test_a_default_name_is_one_that_a_model_can_have(study: str, expected: str) -> None:
    assert default_name(study, 7) == expected
    require_name(expected)
    require_name(default_name(study, 10**17))

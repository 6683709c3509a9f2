"""Where the files of a study lie."""

from dataclasses import replace

from nas.workspace import study_folder
from tests.samples import study_record


def test_studies_of_one_name_have_folders_of_their_own() -> None:
    first = replace(study_record(name="s"), uid="0123456789abcdef" * 2)
    second = replace(first, uid="89abcdef01234567" * 2)
    assert [study_folder(study) for study in (first, second)] == ["s-01234567", "s-89abcdef"]

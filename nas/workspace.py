"""Where the files of a study lie."""

from nas.records import StudyRecord


def study_folder(study: StudyRecord) -> str:
    """Name under which the files of a study lie: its own, and the beginning of the id that its database made for it.

    Databases may share a folder of artifacts. Their studies of one name never share a file there.
    """
    return f"{study.name}-{study.uid[:8]}"

"""A project in processes of its own that the tests of a module share: they do not change it."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.project import Database, Project


@contextlib.contextmanager
def shared_project(
    migrated: Database, folders: pytest.TempPathFactory, **environment: str
) -> Iterator[Project]:
    folder = folders.mktemp("shared")
    database = Database.create(folder, migrated)
    project = Project(database, folder, WEB_CONCURRENCY="1", **environment)
    try:
        yield project
    finally:
        project.stop()
        database.drop()

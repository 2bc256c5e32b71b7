"""Two databases of any kinds, for copies from one to the other."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from tests.store.conftest import run_outside_transaction
from tests.store.maintenance.copies import BOTH_WAYS


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    name = f"copy_{uuid4().hex}"
    asyncio.run(run_outside_transaction(server_url, f"CREATE DATABASE {name}"))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    asyncio.run(run_outside_transaction(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def kinds(request: pytest.FixtureRequest) -> tuple[str, str]:
    kinds: tuple[str, str] = getattr(request, "param", BOTH_WAYS[0])
    return kinds


@pytest.fixture
def urls(kinds: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The addresses of two databases with nothing in them: the source and the target."""
    with ExitStack() as stack:
        found = []
        for kind, name in zip(kinds, ("source", "target"), strict=True):
            if kind == "sqlite":
                found.append(f"sqlite:///{tmp_path / name}.db")
            else:
                found.append(stack.enter_context(new_database(request.getfixturevalue("postgres_url"))))
        source, target = found
        yield source, target


@pytest.fixture
def source(urls: tuple[str, str]) -> str:
    return urls[0]


@pytest.fixture
def target(urls: tuple[str, str]) -> str:
    return urls[1]

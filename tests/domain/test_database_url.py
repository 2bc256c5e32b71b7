from pathlib import Path

import pytest

from bot.domain.database_url import PostgresUrl, parse_database_url, sqlite_file


def parse(url: str) -> PostgresUrl:
    parsed = parse_database_url(url)
    assert isinstance(parsed, PostgresUrl)
    return parsed


@pytest.mark.parametrize(
    ("url", "user", "password", "hosts", "database"),
    [
        ("postgresql://me:pw@host/name?options=a@b", "me", "pw", "host", "name"),
        ("postgresql://me@host:5432/name?passfile=/a@b", "me", "", "host:5432", "name"),
        ("postgresql://host:5432/name?options=a@b", "", "", "host:5432", "name"),
        ("postgresql://host:5432?options=a:b@c:d", "", "", "host:5432", ""),
        ("postgresql://one:5432,two/name?options=a@b", "", "", "one:5432,two", "name"),
        ("postgresql://[::1]:5432/name?options=a@b", "", "", "[::1]:5432", "name"),
        ("postgresql://me:pw@[::1]:5432,[::2]:5433/name", "me", "pw", "[::1]:5432,[::2]:5433", "name"),
        ("postgresql://%2Frun%2Fa%40b/name", "", "", "%2Frun%2Fa%40b", "name"),
        ("postgresql:///name?host=/run/a@b&password=s:c@t", "", "", "", "name"),
        ("postgresql://me:p%40w@host/na%40me", "me", "p@w", "host", "na@me"),
        ("postgresql://me:a:b/c?d#e@host:5432/name", "me", "a:b/c?d#e", "host:5432", "name"),
        ("postgresql://me:a?b=c@host/name", "me", "a?b=c", "host", "name"),
        ("postgresql://me:5/c@host/name?options=a@b", "me", "5/c", "host", "name"),
        ("postgresql://me:a@b@host/name", "me", "a", "b@host", "name"),
    ],
)
def test_an_at_sign_separates_the_user_only_where_one_may_stand(
    url: str, user: str, password: str, hosts: str, database: str
) -> None:
    parsed = parse(url)
    assert (parsed.user, parsed.password, parsed.hosts, parsed.database) == (user, password, hosts, database)


@pytest.mark.parametrize(
    ("url", "rendered"),
    [
        ("postgres://host:5432/name?options=-c%20a@b", "postgresql://host:5432/name?options=-c%20a%40b"),
        ("postgresql://me:a/b?c%40@one:1,[::2]:2/na%3fme", "postgresql://me:a%2Fb%3Fc%40@one:1,[::2]:2/na%3Fme"),
        ("postgresql:///name?host=one:1&host=/run/pg&user=me", "postgresql:///name?host=one:1,/run/pg&user=me"),
        ("postgresql://one,two?port=1&port=2&sslmode=", "postgresql://one,two?port=1,2"),
        ("postgresql://me@/name", "postgresql://me@/name"),
    ],
)
def test_the_driver_gets_everything_percent_encoded_and_each_field_once(url: str, rendered: str) -> None:
    assert parse(url).render() == rendered


def test_no_password_is_shown() -> None:
    url = parse("postgresql://me:hunter2@host/name?sslpassword=hunter2&password=hunter2&sslmode=require")
    assert url.render_without_password() == "postgresql://me@host/name?sslmode=require"
    assert "hunter2" not in repr(url)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://one:1,two,[::1]:3,[::2]/name", "one, two, [::1], [::2]"),
        ("postgresql:///name?host=/run/a:b", "/run/a:b"),
        ("postgresql://me:a@b@host/name", "host"),
        ("postgresql:///name", ""),
    ],
)
def test_hosts_are_named_without_ports(url: str, hosts: str) -> None:
    assert parse(url).host_names() == hosts


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////var/lib/zoetrope.db", Path("/var/lib/zoetrope.db")),
        ("sqlite:////var/lib/a%20b.db", Path("/var/lib/a b.db")),
        ("sqlite:////var/lib/a:b@c#d.db", Path("/var/lib/a:b@c#d.db")),
        ("postgresql:///zoetrope", None),
    ],
)
def test_a_sqlite_url_names_a_file_whose_name_may_be_percent_encoded(url: str, file: Path | None) -> None:
    assert sqlite_file(url) == file


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sqlite_file("sqlite:///data/zoetrope.db") == tmp_path / "data" / "zoetrope.db"


@pytest.mark.parametrize(
    ("url", "each"),
    [
        ("postgresql://me:p%40w@host/name", ["postgresql://me:p%40w@host/name"]),
        (
            "postgresql://me@one:5433,two/n?sslmode=require",
            ["me@one:5433/n?sslmode=require", "me@two/n?sslmode=require"],
        ),
        ("postgresql:///n?host=/run/a&user=me", ["/n?host=/run/a&user=me"]),
        ("postgresql:///n?host=one,two&port=1,2", ["/n?host=one&port=1", "/n?host=two&port=2"]),
        ("postgresql:///n?host=one&host=two&port=1", ["/n?host=one&port=1", "/n?host=two&port=1"]),
        ("postgresql:///n?host=one,two", ["/n?host=one", "/n?host=two"]),
    ],
)
def test_each_of_several_hosts_has_a_url(url: str, each: list[str]) -> None:
    found = [one.render().removeprefix("postgresql://") for one in parse(url).of_each_host()]
    assert found == [one.removeprefix("postgresql://") for one in each]

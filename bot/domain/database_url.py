"""Reads `DATABASE_URL`, once and the same way for everything that needs a part of it.

Database drivers take URLs that general parsers refuse or misread: with several hosts, or with a password whose
special characters aren't percent-encoded. Opens nothing.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

_PORT_MAX = 65_535
_LISTS = ("host", "port")
"""Query fields that may be repeated, one value for each host; the driver takes one field with commas."""

_PASSWORDS = ("password", "sslpassword")
"""Query fields that hold a secret."""

_HOST = r"(?:\[[^][/?@]+\]|[^][:,/?@]+)(?::\d+)?"
_WITHOUT_USER = re.compile(rf"(?:{_HOST}(?:,{_HOST})*)?(?:/[^?@]*)?\?\w+=.*", re.DOTALL)
"""Hosts, a database and a query: any `@` belongs to the query."""

_CREDENTIALS = re.compile(r"([^:@/?]*)(?::([^@]*))?@")
"""As in the driver, the password ends at the first `@`. It may contain everything else."""


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The parts of a PostgreSQL server's URL, percent-decoded; `hosts` is as written, with ports and commas."""

    user: str
    password: str = field(repr=False)
    hosts: str
    database: str
    query: tuple[tuple[str, str], ...] = field(repr=False)

    def host_names(self) -> str:
        """The hosts without their ports, for people; empty if the URL names none."""
        # If the password contains an `@`, what follows that is part of the password, not of a host.
        hosts = self.hosts.rpartition("@")[2] or dict(self.query).get("host", "")
        return ", ".join(_split_port(host)[0] for host in hosts.split(","))

    def place(self) -> str:
        """The database and its hosts, for people. If the URL names no database, the server or the user has one."""
        fields = dict(self.query)
        name = self.database or fields.get("database") or fields.get("dbname", "")
        return f"{name and f'{name} '}on {self.host_names() or 'this machine'}"

    def of_each_host(self) -> "tuple[PostgresUrl, ...]":
        """The same URL with each of its hosts alone, in their order."""
        if self.hosts:
            return tuple(replace(self, hosts=host) for host in self.hosts.split(","))
        fields = dict(self.query)
        hosts, ports = fields.get("host", "").split(","), fields.get("port", "").split(",")
        if len(hosts) == 1:
            return (self,)
        ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
        return tuple(
            replace(self, query=tuple((fields | _host_fields(host, port)).items()))
            for host, port in zip(hosts, ports, strict=True)
        )

    def render(self) -> str:
        """The URL for the driver, with everything percent-encoded that must be."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return self._render(password, self.query)

    def render_without_password(self) -> str:
        """The URL without its passwords, for a command line that the operator may copy."""
        return self._render("", tuple(pair for pair in self.query if pair[0] not in _PASSWORDS))

    def _render(self, password: str, query: tuple[tuple[str, str], ...]) -> str:
        user = f"{quote(self.user, safe='')}{password}"
        fields = urlencode(query, quote_via=quote, safe="/:,")
        credentials = user and f"{user}@"
        database = self.database and f"/{quote(self.database)}"
        return f"postgresql://{credentials}{self.hosts}{database}{fields and f'?{fields}'}"


def parse_database_url(url: str) -> Path | PostgresUrl:
    """The file of a SQLite database, as written; the parts of a PostgreSQL server's URL.

    Raises ValueError, whose text says what is wrong and never quotes the URL.
    """
    if "\0" in unquote(url):  # no path and no field of PostgreSQL's can
        raise ValueError("it contains a NUL character, `%00`")
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        if "?" in rest or rest == "/:memory:":
            raise ValueError("it must name just a file")
        return Path(unquote(rest[1:], errors="surrogateescape"))  # a name may have any bytes
    if scheme not in {"postgresql", "postgres"} or not separator or not rest:
        raise ValueError("it is not the URL of a SQLite or PostgreSQL database")
    return _parse_postgresql(rest)


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite database's file, whatever characters its path contains."""
    return f"sqlite:///{quote(bytes(file))}"


def sqlite_file(url: str) -> Path | None:
    """The absolute path of a SQLite database's file; None for PostgreSQL and for an invalid URL."""
    try:
        parsed = parse_database_url(url)
    except ValueError:
        return None
    return parsed.absolute() if isinstance(parsed, Path) else None


def described(url: str) -> str:
    """The kind and the place of a database, for people; never a password. Raises ValueError as above."""
    parsed = parse_database_url(url)
    if isinstance(parsed, Path):
        return f"SQLite, {parsed.absolute()}"
    return f"PostgreSQL, {parsed.place()}"


def possible_passwords(url: str) -> list[str]:
    """Whatever may be a password in a URL, both as written and percent-decoded.

    If the password or what follows it contains an `@`, parsers disagree on where the password ends. So it is read
    both ways, and the part that one parser takes for the host and another for the password is included too.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return []
    passwords = re.findall(rf"[?&](?:{'|'.join(_PASSWORDS)})=([^&]*)", rest)
    passwords += [unquote(password.replace("+", " ")) for password in passwords]
    if _WITHOUT_USER.fullmatch(rest):
        return passwords
    for end in {rest.find("@"), rest.rfind("@")} - {-1}:
        password = rest[:end].partition(":")[2]
        passwords += [password, unquote(password)]
        if password:
            passwords.append(rest[end + 1 :].rpartition("@")[0])
    return passwords


def _parse_postgresql(rest: str) -> PostgresUrl:
    user = password = ""
    credentials = None if _WITHOUT_USER.fullmatch(rest) else _CREDENTIALS.match(rest)
    if credentials is not None:
        user, password = credentials.groups(default="")
        rest = rest[credentials.end() :]
    location, _, fields = rest.partition("?")
    hosts, _, database = location.partition("/")
    query = dict[str, str]()
    for name, value in parse_qsl(fields):
        query[name] = f"{query[name]},{value}" if name in _LISTS and name in query else value
    _check_hosts(hosts)
    _check_hosts(query.get("host", ""))
    if "port" in query:
        _check_ports(query["port"].split(","))
    return PostgresUrl(unquote(user), unquote(password), hosts, unquote(database), tuple(query.items()))


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(",") if hosts else ():
        if host.startswith("/"):  # a socket's folder
            continue
        name, port = _split_port(host)
        if port is not None:
            _check_ports([port])
        if not re.fullmatch(r"\[[^][]+\]|[^][]+", name):
            raise ValueError("one of its hosts is missing, or has an unmatched bracket")


def _check_ports(ports: list[str]) -> None:
    if not all(port.isascii() and port.isdecimal() and 1 <= int(port) <= _PORT_MAX for port in ports):
        raise ValueError(f"its port must be a number from 1 to {_PORT_MAX}")


def _host_fields(host: str, port: str) -> dict[str, str]:
    return {"host": host} | ({"port": port} if port else {})


def _split_port(host: str) -> tuple[str, str | None]:
    """A host's name and its port, which follows the last colon outside an IPv6 address's brackets."""
    if host.startswith("/") or host.endswith("]") or ":" not in host:
        return host, None
    name, _, port = host.rpartition(":")
    return name, port

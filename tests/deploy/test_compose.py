"""What the compose files promise, for every service that runs the bot."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from bot.__main__ import main
from bot.settings import GivenSettings
from tests.deploy.deploy_files import GRACE_S, ROOT, SETTINGS, compose, image_environment, seconds

SQLITE, POSTGRES = compose("compose.yaml"), compose("compose.postgres.yaml")
BOTS = {
    "zoetrope": SQLITE["zoetrope"],
    "gateway": POSTGRES["gateway"],
    "worker": POSTGRES["worker"],
}
ALL = BOTS | {"postgres": POSTGRES["postgres"]}
DECODER_BYTES = 512 << 20
PASSWORD = re.compile(r"_(?:PASSWORD|TOKEN|KEY): (?!\"\"|\$\{).*|://\w+:(?!\$\{)\S*@")
"""One that stands in the file; not one that compose puts in from elsewhere."""


def each(services: dict[str, dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("service", services.values(), ids=services)


def size(text: str) -> int:
    """Bytes, as compose writes them."""
    number, unit = re.fullmatch(r"(\d+)([kmg])", text).groups()  # type: ignore[union-attr] # it fails if None
    return int(number) << {"k": 10, "m": 20, "g": 30}[unit]


@each(ALL)
def test_a_container_can_write_to_its_volume_and_its_memory_only(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert any(mount.split(":")[0] == "/tmp" for mount in service["tmpfs"])  # noqa: S108 - a path in the container


@each(ALL)
def test_a_container_has_no_privileges_and_can_gain_none(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"privileged", "cap_add", "network_mode", "pid", "devices"}.isdisjoint(service)


@each(ALL)
def test_a_container_comes_back_and_its_log_stays_small(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert "pids_limit" in service


@each(BOTS)
def test_a_stop_waits_longer_than_the_bot_needs(service: dict[str, Any]) -> None:
    assert seconds(service["stop_grace_period"]) > GRACE_S


@each(BOTS)
def test_a_decoder_has_room_beside_the_bot_and_the_videos_in_memory(service: dict[str, Any]) -> None:
    (tmpfs,) = (mount for mount in service["tmpfs"] if mount.startswith("/tmp:"))  # noqa: S108 - in the container
    in_memory = size(dict(option.split("=") for option in tmpfs.split(":")[1].split(","))["size"])
    assert size(service["mem_limit"]) >= in_memory + 2 * DECODER_BYTES
    largest_video = GivenSettings.model_fields["upstream_result_max_bytes"].default
    assert in_memory > 2 * largest_video


@each(BOTS)
def test_a_bot_runs_a_command_that_exists(service: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main([*service["command"], "--help"])
    shown = capsys.readouterr()
    assert exited.value.code == 0, shown.err
    assert [option for option in service["command"][1:] if option not in shown.out] == []


@each(BOTS)
def test_a_bot_gets_known_settings_and_its_secrets_from_a_file(service: dict[str, Any]) -> None:
    assert service["env_file"] == [".env"]
    assert set(service["environment"]) <= SETTINGS | {"POSTGRES_PASSWORD"}
    assert {"DISCORD_TOKEN", "VTRIX_API_KEY", "DASHSCOPE_API_KEY"}.isdisjoint(service["environment"])
    assert not service["environment"].get("POSTGRES_PASSWORD"), "the bot has it in DATABASE_URL"


def test_no_file_contains_a_password() -> None:
    for name in ("compose.yaml", "compose.postgres.yaml"):
        assert PASSWORD.findall((ROOT / name).read_text(encoding="utf-8")) == []
    assert PASSWORD.search("POSTGRES_PASSWORD: example")
    assert PASSWORD.search("DATABASE_URL: postgresql://zoetrope:example@postgres/zoetrope")


@each(BOTS)
def test_the_health_check_asks_where_the_bot_listens(service: dict[str, Any]) -> None:
    image = image_environment()
    assert {name: service["environment"][name] for name in ("METRICS_HOST", "METRICS_PORT")} == {
        name: image[name] for name in ("METRICS_HOST", "METRICS_PORT")
    }


@each(ALL)
def test_no_port_is_open_to_other_hosts(service: dict[str, Any]) -> None:
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_one_process_is_connected_to_discord_and_the_others_are_workers() -> None:
    assert SQLITE["zoetrope"]["command"] == ["run"]
    assert POSTGRES["gateway"]["command"] == ["run", "--no-worker"]
    assert POSTGRES["worker"]["command"] == ["worker"]
    assert "deploy" not in POSTGRES["gateway"]
    assert "replicas" in POSTGRES["worker"]["deploy"]
    assert "ports" not in POSTGRES["worker"], "several workers can't share a host's port"


def test_the_database_is_ready_before_the_bot_and_reached_by_nobody_else() -> None:
    for name in ("gateway", "worker"):
        assert POSTGRES[name]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert "pg_isready" in POSTGRES["postgres"]["healthcheck"]["test"]
    assert POSTGRES["postgres"]["networks"] == ["database"]
    assert "ports" not in POSTGRES["postgres"]


@pytest.mark.parametrize("service", [POSTGRES["gateway"], POSTGRES["worker"]], ids=["gateway", "worker"])
def test_the_address_of_the_database_is_one_that_the_settings_take(service: dict[str, Any]) -> None:
    address = re.sub(r"\$\{.*?\}", "secret", service["environment"]["DATABASE_URL"])
    field = GivenSettings.model_fields["database_url"]
    assert TypeAdapter(field.rebuild_annotation()).validate_python(address)


def test_the_files_of_the_databases_are_in_named_volumes() -> None:
    assert SQLITE["zoetrope"]["volumes"] == ["data:/data"]
    assert POSTGRES["postgres"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert SQLITE["zoetrope"]["environment"]["DATABASE_URL"].startswith("sqlite:////data/")

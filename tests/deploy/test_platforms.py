"""What the files for Fly and Railway promise."""

import json
import tomllib

from tests.deploy.deploy_files import DEPLOY, GRACE_S, SETTINGS, image_environment

FLY = tomllib.loads((DEPLOY / "fly.toml").read_text(encoding="utf-8"))
RAILWAY = json.loads((DEPLOY / "railway.json").read_text(encoding="utf-8"))


def test_both_stop_the_bot_as_it_expects() -> None:
    assert FLY["kill_signal"] == "SIGTERM"
    assert FLY["kill_timeout"] > GRACE_S
    assert RAILWAY["deploy"]["drainingSeconds"] > GRACE_S


def test_both_ask_for_the_bots_health() -> None:
    (check,) = FLY["checks"].values()
    assert check["path"] == RAILWAY["deploy"]["healthcheckPath"] == "/healthz"
    assert str(check["port"]) == FLY["env"]["METRICS_PORT"] == image_environment()["METRICS_PORT"]
    assert FLY["metrics"]["port"] == check["port"]


def test_the_machine_at_fly_is_never_stopped_for_want_of_requests() -> None:
    assert {"http_service", "services"}.isdisjoint(FLY), "only services are stopped and started by requests"


def test_the_database_at_fly_is_on_its_volume() -> None:
    assert FLY["env"]["DATABASE_URL"].startswith(f"sqlite:///{FLY['mounts']['destination']}/")


def test_the_settings_at_fly_are_known_and_no_secrets() -> None:
    assert set(FLY["env"]) <= SETTINGS - {"DISCORD_TOKEN", "VTRIX_API_KEY", "DASHSCOPE_API_KEY"}


def test_no_two_deployments_at_railway_overlap() -> None:
    assert RAILWAY["deploy"]["overlapSeconds"] == 0

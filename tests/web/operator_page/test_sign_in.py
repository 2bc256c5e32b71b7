"""Who may see the page, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import pytest

from bot.store.engine import Database
from bot.web.operator_page.access import WRONG_MAX
from bot.web.operator_page.pages import COOKIE
from tests.web.operator_page.conftest import Answer, Visitor, visiting
from tests.web.operator_page.invented import TOKEN

PRIVATE = ["/", "/jobs", "/jobs?late=1", "/jobs/some-job", "/costs", "/costs.png", "/failures", "/no-such-page"]


def session_of(answer: Answer) -> str:
    return SimpleCookie(answer.headers["Set-Cookie"])[COOKIE].value


async def sign_in(visitor: Visitor, token: str = TOKEN, comes_from: str = "/", **headers: str) -> Answer:
    return await visitor.send("POST", "/login", data={"token": token, "comes_from": comes_from}, **headers)


@pytest.mark.parametrize("path", PRIVATE)
async def test_without_the_token_every_page_asks_for_it_and_shows_nothing(stranger: Visitor, path: str) -> None:
    answer = await stranger.get(path)

    assert answer.status == 401
    assert 'name="token"' in answer.text
    assert "Lighthouse" not in answer.text


@pytest.mark.parametrize("path", PRIVATE)
async def test_a_wrong_bearer_token_opens_nothing(database: Database, path: str) -> None:
    async with visiting(database, token="wrong-token-of-length") as visitor:
        assert (await visitor.get(path)).status == 401


async def test_the_token_as_a_bearer_opens_a_page(operator: Visitor) -> None:
    assert (await operator.get("/")).status == 200


async def test_signing_in_opens_a_session_that_scripts_and_other_sites_cannot_use(stranger: Visitor) -> None:
    answer = await sign_in(stranger)

    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    assert TOKEN not in cookie.value
    assert (await stranger.get("/", Cookie=f"{COOKIE}={cookie.value}")).status == 200


async def test_behind_a_proxy_that_encrypts_the_session_is_sent_encrypted_only(stranger: Visitor) -> None:
    answer = await sign_in(stranger, X_Forwarded_Proto="https")
    assert SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]["secure"] is True


async def test_signing_in_leads_back_to_the_page_that_was_asked_for(stranger: Visitor) -> None:
    asked = await stranger.get("/jobs?state=queued")
    assert 'name="comes_from" value="/jobs?state=queued"' in asked.text
    assert (await sign_in(stranger, comes_from="/jobs?state=queued")).headers["Location"] == "/jobs?state=queued"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil",
        "//[",
        "http://[",
    ],
)
async def test_signing_in_never_leads_to_another_site(stranger: Visitor, elsewhere: str) -> None:
    assert (await sign_in(stranger, comes_from=elsewhere)).headers["Location"] == "/"


async def test_a_wrong_token_is_refused_and_not_shown_again(stranger: Visitor) -> None:
    answer = await sign_in(stranger, "wrong-token-of-length")

    assert answer.status == 401
    assert "That isn't the token" in answer.words.replace("&#39;", "'")
    assert "wrong-token-of-length" not in answer.text
    assert "Set-Cookie" not in answer.headers


async def test_wrong_tokens_are_throttled_and_open_sessions_are_not(stranger: Visitor) -> None:
    session = session_of(await sign_in(stranger))
    for _ in range(WRONG_MAX):
        assert (await sign_in(stranger, "wrong-token-of-length")).status == 401

    refused = await sign_in(stranger)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "31")
    assert (await stranger.get("/", Authorization=f"Bearer {TOKEN}")).status == 429
    assert (await stranger.get("/", Cookie=f"{COOKIE}={session}")).status == 200


async def test_wrong_bearer_tokens_are_throttled_as_well(database: Database) -> None:
    async with visiting(database, token="wrong-token-of-length") as visitor:
        answers = [(await visitor.get("/")).status for _ in range(WRONG_MAX + 1)]
    assert answers == [401] * WRONG_MAX + [429]


async def test_a_token_in_a_url_opens_nothing(stranger: Visitor) -> None:
    assert (await stranger.get(f"/?token={TOKEN}")).status == 401
    assert (await stranger.get(f"/login?token={TOKEN}")).status == 200
    assert "Set-Cookie" not in (await stranger.get(f"/login?token={TOKEN}")).headers


async def test_signing_out_deletes_the_session(stranger: Visitor) -> None:
    answer = await stranger.send("POST", "/logout")
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]["max-age"] == "0"


async def test_another_sites_form_signs_nobody_in_and_uses_up_no_try(stranger: Visitor) -> None:
    for _ in range(2 * WRONG_MAX):
        assert (await sign_in(stranger, "wrong", Origin="https://evil.example")).status == 403
        assert (await sign_in(stranger, "wrong", Origin="null")).status == 403
        assert (await sign_in(stranger, "wrong", Origin="http://[")).status == 403
    assert (await sign_in(stranger, Origin=stranger.url)).status == 303


@pytest.mark.parametrize(("site", "status"), [("same-origin", 303), ("cross-site", 403), ("same-site", 403)])
async def test_behind_a_proxy_that_names_this_machine_only_the_pages_own_form_signs_in(
    stranger: Visitor, site: str, status: int
) -> None:
    origin = "https://bot.example"
    answer = await sign_in(
        stranger, Host="localhost", Origin=origin, Sec_Fetch_Site=site, X_Forwarded_Proto="https"
    )
    assert answer.status == status


@pytest.mark.parametrize("path", ["/", "/login", "/style.css"])
async def test_another_name_that_leads_to_this_machine_is_refused(operator: Visitor, path: str) -> None:
    answer = await operator.get(path, Host="evil.example:9464")
    assert answer.status == 403
    assert "http://localhost" in answer.text
    assert (await operator.get(path, Host="localhost:1234")).status == 200


async def test_a_server_that_listens_elsewhere_answers_to_any_name(database: Database) -> None:
    async with visiting(database, token=TOKEN, host="0.0.0.0") as visitor:  # noqa: S104 - what is tested
        assert (await visitor.get("/", Host="bot.example")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/jobs", "/costs", "/jobs/x", "/failures"])
async def test_nothing_can_be_changed(operator: Visitor, method: str, path: str) -> None:
    assert (await operator.send(method, path)).status == 405


async def test_a_huge_form_is_refused_and_uses_up_no_try(stranger: Visitor) -> None:
    for _ in range(WRONG_MAX + 1):
        assert (await sign_in(stranger, "x" * 100_000)).status == 413
    assert (await sign_in(stranger)).status == 303


async def test_a_form_that_arrives_in_pieces_is_read_to_its_end(stranger: Visitor) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"token="
        await asyncio.sleep(0.05)
        yield TOKEN.encode()

    assert (await stranger.send("POST", "/login", data=pieces())).status == 303


@pytest.mark.parametrize("path", ["/", "/login", "/style.css", "/icon.svg", "/costs.png", "/jobs/none", "/none"])
async def test_no_page_runs_scripts_is_framed_kept_or_loads_from_elsewhere(operator: Visitor, path: str) -> None:
    headers = (await operator.get(path)).headers

    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "aiohttp" not in headers["Server"]

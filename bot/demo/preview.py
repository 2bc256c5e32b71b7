"""SimCord's preview of a channel, fitted to the demo.

SimCord shows one channel for testing. The demo needs three things more: several channels, each as one of several
members sees it; clicks that survive a refresh; and a finished MP4 handed to the browser as it is, because SimCord
re-encodes every video as VP9 each time a page opens, six to ten seconds for five seconds of 720P.

It relies on internals of SimCord 3.2.1, which is pinned; the tests of this module fail if they move.
"""

import asyncio
import io
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import av
from aiohttp import web
from simcord import ChannelHandle, Env, MemberActor
from simcord.preview import Preview
from simcord.preview._media import MediaInfo, MediaWorker
from simcord.preview._pages import _Page
from simcord.preview._server import PreviewServer

from bot.demo.discord_markdown import follow_discord

SAMPLE_PICTURE = Path(__file__).with_name("static") / "lighthouse.jpg"

_STATIC = {
    "/demo.js": (Path(__file__).with_name("static") / "demo.js", "application/javascript"),
    "/demo.css": (Path(__file__).with_name("static") / "demo.css", "text/css"),
    "/sample.jpg": (SAMPLE_PICTURE, "image/jpeg"),
}
_HEAD = """\
<link rel="icon" href="/sample.jpg"><link rel="stylesheet" href="/demo.css">
<script type="module" src="/demo.js"></script></head>"""
_IDLE_POLL_S = 0.02
_REVISIONS_KEPT = 16


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as one member sees it. `name`: what the page calls this view."""

    name: str
    member: MemberActor
    channel: ChannelHandle

    @property
    def id(self) -> str:
        """How the browser names this view."""
        return f"{self.member.id}:{self.channel.id}"


class DemoPreview(Preview):
    """Serves `views` on the loopback; the first one is shown first. `port`: 0 takes a free one."""

    def __init__(self, env: Env, views: Sequence[ChannelView], *, port: int) -> None:
        follow_discord()
        super().__init__(
            env,
            views[0].channel,
            tuple(dict.fromkeys(view.member for view in views)),
            layout="channel",
            display="responsive",
            width=960,
            height=720,
            locale="en-US",
            timezone="UTC",
            presentation_time=None,
            assets=None,
            port=port,
        )
        self._views = {view.id: view for view in views}
        self._media_worker = _PassthroughMedia()
        self._server = _DemoServer(self, port)
        # What each open page has shown lately, oldest first.
        self._shown: dict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=_REVISIONS_KEPT))

    @property
    def channel(self) -> ChannelHandle:
        """Where the action that is under way takes place. SimCord itself knows a single channel."""
        return self._current_channel.get()

    @channel.setter
    def channel(self, channel: ChannelHandle) -> None:
        self._current_channel = ContextVar("channel", default=channel)

    def _publish(self, page: _Page, *, reason: Any = "action") -> None:
        super()._publish(page, reason=reason)
        self._shown[page.id].append(page.snapshot)

    def _page_payload(self, page: _Page) -> dict[str, Any]:
        """The page's picker offers views where SimCord offers members."""
        payload = super()._page_payload(page)
        payload["viewers"] = [{"id": view.id, "name": view.name} for view in self._views.values()]
        payload["viewerId"] = f"{page.viewer.id}:{page.channel_id}"
        return payload

    async def _action(self, context_id: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Performs a click, command or form, even if the page was refreshed a moment ago.

        SimCord refuses an action made on an older revision, or during a refresh. Here it waits for the
        refresh and counts as made now, unless the control it is about has changed in between. SimCord still
        numbers the actions of a page, so none is performed twice.
        """
        while self.env._operation_task is not None:  # noqa: ASYNC110, SLF001 - SimCord has no event for it
            await asyncio.sleep(_IDLE_POLL_S)
        page = self._get_page(context_id)
        if isinstance(body, dict) and self._is_current(page, body):
            body = {**body, "published_revision": page.revision}
        before = page.channel_id
        if isinstance(body, dict) and (view := self._views.get(str(body.get("viewer_id")))):
            body = {**body, "viewer_id": view.member.id}
            page.channel_id = view.channel.id
        self._current_channel.set(self._channel_of(page))
        result = await super()._action(context_id, body)
        if result["rejected"]:
            page.channel_id = before
        return result

    def _channel_of(self, page: _Page) -> ChannelHandle:
        return next(view.channel for view in self._views.values() if view.channel.id == page.channel_id)

    def _is_current(self, page: _Page, body: Mapping[str, Any]) -> bool:
        """Whether what an action is about looks the same now as in the revision it was made on."""
        if body.get("target_id") is None:
            return True
        seen = body.get("published_revision")
        return any(
            shown["publishedRevision"] == seen and _controls(shown, body) == _controls(page.snapshot, body)
            for shown in self._shown[page.id]
        )


def _controls(snapshot: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
    message = snapshot["messages"].get(str(body["target_id"]))
    return None if message is None else message["components"]


class _DemoServer(PreviewServer):
    """Serves the demo's own script, style and sample picture beside SimCord's page."""

    _STATIC_FILES: ClassVar[dict[str, str]] = PreviewServer._STATIC_FILES | dict.fromkeys(_STATIC, "")  # noqa: SLF001

    async def _index(self, request: web.Request) -> web.Response:
        page: web.Response = await super()._index(request)
        html = (page.text or "").replace("<title>SimCord Preview", "<title>Zoetrope demo")
        page.text = html.replace("</head>", _HEAD)
        return page

    async def _static(self, request: web.Request) -> web.Response:
        if request.path not in _STATIC:
            response: web.Response = await super()._static(request)
            return response
        if request.headers.get("Host", "") not in self._allowed_hosts():
            raise web.HTTPForbidden
        path, content_type = _STATIC[request.path]
        body = await asyncio.to_thread(path.read_bytes)
        return web.Response(body=body, content_type=content_type, headers=self._SECURITY_HEADERS)


class _PassthroughMedia(MediaWorker):
    """Passes H.264 through untouched and leaves everything else to SimCord."""

    async def validate(self, key: str, blob: bytes, *, media_time: float | None = None) -> MediaInfo:
        if not media_time and (info := await asyncio.to_thread(_describe_mp4, blob)):
            return info
        return await super().validate(key, blob, media_time=media_time)


def _describe_mp4(blob: bytes) -> MediaInfo | None:
    """What SimCord needs to know of an MP4 that any browser plays, with its first frame as poster; else None."""
    if blob[4:8] != b"ftyp":
        return None
    try:
        with av.open(io.BytesIO(blob), mode="r") as container:
            video = container.streams.best("video")
            if not isinstance(video, av.VideoStream) or (video.name, video.pix_fmt) != ("h264", "yuv420p"):
                return None
            first = next(container.decode(video), None)
            frames, duration_s = video.frames, (container.duration or 0) / av.time_base
    except av.FFmpegError:
        return None  # SimCord reports a broken file in its own words
    if first is None:
        return None
    poster = io.BytesIO()
    first.to_image().save(poster, format="PNG")  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
    codecs = {"video": "h264"}
    return MediaInfo(
        format="mp4",
        width=first.width,
        height=first.height,
        frames=frames,
        decoded_bytes=first.width * first.height * 4,
        normalized=blob,
        content_type="video/mp4",
        kind="video",
        duration=duration_s,
        capture=poster.getvalue(),
        poster=poster.getvalue(),
        source_codecs=codecs,
        display_codecs=codecs,
        transformation="preserved",
        memory_limited=True,  # silences the page's warning about a decoder that is not used here
    )

"""Pictures of the Ray dashboard for docs/dashboard.md, taken with headless Chromium while a study runs.

    python docs/screenshots.py --address http://127.0.0.1:8265 --out docs/images

The dashboard wants the cluster's token; a browser keeps it in a cookie once it was typed in, and so does this one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

PAGES = {"actors": "#/actors"}
SIZE = (1500, 900)
LOAD_S = 6.0  # the page asks for its numbers after it has loaded


class Browser:
    """A Chromium page, spoken to through its DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])


async def take(address: str, token: str, out: Path) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        chromium = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await _take(await _port(Path(profile)), address, token, out)
        finally:
            chromium.terminate()
            chromium.wait()


async def _port(profile: Path) -> int:
    for _ in range(600):
        if (file := profile / "DevToolsActivePort").exists() and (text := file.read_text()):
            return int(text.splitlines()[0])
        await asyncio.sleep(0.1)
    raise TimeoutError("Chromium does not start")


async def _take(port: int, address: str, token: str, out: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in await answer.json(content_type=None) if page["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            browser = Browser(socket)
            width, height = SIZE
            view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            await browser.call("Emulation.setDeviceMetricsOverride", **view)
            cookie = {"name": "ray-authentication-token", "value": token, "domain": urlsplit(address).hostname}
            await browser.call("Network.setCookie", path="/", **cookie)
            for name, page in PAGES.items():
                await browser.call("Page.navigate", url=f"{address}/{page}")
                await asyncio.sleep(LOAD_S)
                picture = await browser.call("Page.captureScreenshot", format="png")
                (out / f"dashboard-{name}.png").write_bytes(base64.b64decode(picture["data"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://127.0.0.1:8265")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser().read_text()
    asyncio.run(take(options.address.rstrip("/"), token, options.out))


if __name__ == "__main__":
    main()

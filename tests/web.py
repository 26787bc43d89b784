#!/usr/bin/env python3
"""web.py BIN OUT: moe-plot's page in headless Chromium, as a person sees it and as a screen reader hears it, with its program and without. Prints one line for
each check that fails and exits 1; screenshots are kept in the folder OUT. Needs nothing but Python and Chromium."""
import base64
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAILED = []


def check(name, good, shown=""):
    if not good:
        FAILED.append(name)
        print("FAIL %s %s" % (name, shown), flush=True)


class Chromium:
    """A browser that is spoken to through two pipes (the DevTools protocol; messages end with NUL)."""

    def __init__(self, folder):
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--user-data-dir=" + folder,
                   "--remote-debugging-pipe", "--force-color-profile=srgb", "about:blank"]
        # Its own sandbox does not start in many containers, nor for root; it shows our page alone.
        self.process = subprocess.Popen(["bash", "-c", 'exec 3<&%d 4>&%d; exec "$@"' % (to_read, back_write), "bash", *command], pass_fds=[to_read, back_write],
                                        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(to_read)
        os.close(back_write)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Accessibility", "DOM"):
            self(domain + ".enable")

    def receive(self):
        while b"\0" not in self.buffer:
            data = os.read(self.back, 1 << 20)
            if not data:
                sys.exit("web.py: Chromium has ended")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def __call__(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit("web.py: %s: %s" % (method, answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def open(self, path, scripts=True, width=1200, height=900, dark=False):
        self("Emulation.setScriptExecutionDisabled", value=not scripts)
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events = []
        self("Page.navigate", url="file://" + path)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.receive())

    def js(self, expression):
        result = self("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit("web.py: %s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def shot(self, path, whole=False):
        """Keeps a picture of the window, or of the whole page; returns its width and height."""
        data = base64.b64decode(self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        with open(path, "wb") as f:
            f.write(data)
        return struct.unpack(">II", data[16:24])

    def pixels(self, x, y, w, h):
        """The pixels of a part of the page."""
        clip = {"x": x, "y": y, "width": w, "height": h, "scale": 1}
        return Picture(base64.b64decode(self("Page.captureScreenshot", format="png", clip=clip)["data"]))

    def key(self, name, code):
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def mouse(self, kind, x, y):
        self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if kind != "mouseMoved" else "none", clickCount=1)

    def point(self, selector, click=False):
        """Moves the mouse to the middle of the first such element, which is scrolled into view."""
        box = self.js("(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
                      "return [r.left + r.width / 2, r.top + r.height / 2] })()" % json.dumps(selector))
        self.mouse("mouseMoved", *box)
        if click:
            self.mouse("mousePressed", *box)
            self.mouse("mouseReleased", *box)

    def close(self):
        try:
            os.write(self.to, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        except OSError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Picture:
    """The pixels of a PNG of 8 bits without interlacing."""

    def __init__(self, data):
        self.width, self.height, bits, kind = struct.unpack(">IIBB", data[16:26])
        assert bits == 8 and kind in (2, 6), (bits, kind)
        self.channels, at, packed = {2: 3, 6: 4}[kind], 8, b""
        while at < len(data):
            n, name = struct.unpack(">I4s", data[at:at + 8])
            packed += data[at + 8:at + 8 + n] if name == b"IDAT" else b""
            at += 12 + n
        raw, row, self.rows = zlib.decompress(packed), 1 + self.channels * self.width, []
        last = bytearray(row - 1)
        for y in range(self.height):
            last = self.unfilter(raw[y * row], bytearray(raw[y * row + 1:(y + 1) * row]), last)
            self.rows.append(last)

    def unfilter(self, kind, x, up):
        c = self.channels
        if kind == 2:
            return bytearray((a + b) & 255 for a, b in zip(x, up))
        for i in range(len(x) if kind else 0):
            left, corner = (x[i - c], up[i - c]) if i >= c else (0, 0)
            if kind == 1:
                guess = left
            elif kind == 3:
                guess = (left + up[i]) // 2
            else:
                p = left + up[i] - corner
                guess = min((abs(p - left), 0, left), (abs(p - up[i]), 1, up[i]), (abs(p - corner), 2, corner))[2]
            x[i] = (x[i] + guess) & 255
        return x

    def at(self, x, y):
        return tuple(self.rows[int(y)][int(x) * self.channels:int(x) * self.channels + 3])


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **more).stdout.decode()


def make(work):
    """The page of a run, and the numbers behind it."""
    model, picture, trace = ROOT + "/share/models/look", ROOT + "/share/ask/scene.png", work + "/scene.sts"
    run("moe-run", "-q", "-m", model, "--chat", "-p", "what colour is the circle?", "--trace", trace, picture)
    run("moe-plot", "-m", model, "--picture", picture, "-o", work + "/page.html", trace)
    lines = lambda kind: [json.loads(line) for line in run("moe-plot", "-m", model, "--picture", picture, "--kind", kind, "--json", trace).splitlines()]
    return work + "/page.html", {kind: lines(kind) for kind in ("picture", "text", "load")}


def rgb(text):
    return tuple(int(v) for v in re.findall(r"\d+", text)[:3])


def light(c):
    v = [x / 255 for x in c]
    v = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in v]
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]


def contrast(a, b):
    x, y = sorted((light(a), light(b)))
    return (y + 0.05) / (x + 0.05)


def requests(b):
    return [e["params"]["request"]["url"] for e in b.events if e.get("method") == "Network.requestWillBeSent"]


def without_program(b, page, out):
    b.open(page, scripts=False)
    size = b.shot(out + "/page.png", whole=True)
    check("nothing is loaded", all(u.startswith(("file://" + page, "data:")) for u in requests(b)), requests(b))
    check("the whole page is in the picture", size[1] > 2000 and size[0] == 1200, size)
    paper = b.pixels(2, 2, 4, 4).at(1, 1)
    check("the paper is white", paper == (255, 255, 255), paper)
    nodes = b("Accessibility.getFullAXTree")["nodes"]
    named = lambda role: [n.get("name", {}).get("value", "") for n in nodes if n.get("role", {}).get("value") == role and not n.get("ignored")]
    check("headings are heard", [n for n in named("heading") if n.startswith("Which expert looks")], named("heading"))
    images = named("image") + named("img")
    check("every picture has a name", len(images) > 12 and all(images), images)
    check("sections have names", len([n for n in named("region") if n]) >= 5, named("region"))
    check("nothing to choose without a program", not named("radio"), named("radio"))
    b.open(page)            # scripts are needed to ask
    hidden = b.js("[...document.querySelectorAll('details')].every(d => !d.open && d.querySelector('table'))")
    check("each figure has its numbers as a table", hidden)
    b.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    heads = b.js("[...document.querySelectorAll('table')].every(t => t.querySelector('th[scope=col]') && (t.caption || t.querySelector('th[scope=row]')))")
    check("tables have headers", heads)


def layers(b, page):
    b.open(page)
    shown = "[...document.querySelectorAll('#picture figure')].filter(f => f.offsetParent !== null).map(f => f.dataset.ofLayer || '')"
    check("all layers are shown", b.js(shown) == ["", "0", "1", "2", "3", "4"], b.js(shown))
    b.js("document.querySelector('#choose input[value=\"3\"]').click()")
    check("one layer is chosen", b.js(shown) == ["", "3"], b.js(shown))
    bars = "[...document.querySelectorAll('.w[data-token] i')].filter(i => i.offsetParent !== null)"
    check("words show that layer alone", b.js(bars + ".every(i => i.dataset.layer === '3')"))
    b.js("document.querySelector('#choose input[value=all]').click()")
    check("and all again", len(b.js(shown)) == 6)


def tokens(b, page, numbers, out):
    b.open(page)
    row = next(r for r in numbers["picture"] if r["layer"] == 2 and r["row"] == 4 and r["column"] == 6)
    want = [r["experts"] for r in numbers["text"] if r["token"] == row["token"]]
    chips = "[...document.querySelectorAll('#info li')].map(l => [...l.querySelectorAll('.chip')].map(c => parseInt(c.textContent)))"
    b.point("figure[data-of-layer='2'] [data-token='%d']" % row["token"])
    check("pointing at a patch tells its experts", b.js(chips) == want, (b.js(chips), want))
    name = "document.querySelector('#info h3').textContent"
    check("and where it is", "row 4, column 6" in b.js(name), b.js(name))
    check("it is marked in every layer", b.js("document.querySelectorAll('#picture .on').length") == 5)
    b.point(".w[data-token='66']", click=True)
    word = next(r["text"] for r in numbers["text"] if r["token"] == 66)
    b.mouse("mouseMoved", 3, 3)
    check("a click keeps a word", word in b.js(name))
    b.js("document.querySelector('.words').focus()")
    b.key("ArrowRight", 39)
    check("the arrow key goes on", b.js(name).startswith("token 67"))
    good = b.js("[...document.querySelectorAll('.chip')].map(c => { const s = getComputedStyle(c); return [s.color, s.backgroundColor] })")
    check("chips are legible", all(contrast(rgb(a), rgb(c)) >= 4.5 for a, c in good), good)
    b.shot(out + "/token.png")
    b.key("Escape", 27)
    check("Esc lets go", not b.js("document.querySelector('#info').classList.contains('open')"))
    b.point("#picture .key [data-expert='7']", click=True)
    pale = b.js("[...document.querySelectorAll('#picture .facets [data-expert]')]"
                ".every(e => (e.dataset.expert === '7') === (getComputedStyle(e).opacity === '1'))")
    check("an expert is singled out", pale)


def colours(b, page):
    """The swatches of the key and the middle of bars, as they come out on the screen."""
    b.open(page, scripts=True)
    spots = b.js("[...document.querySelectorAll('#picture .key [data-expert] rect')].map(r => { const b = r.getBoundingClientRect();"
                 "return [b.left + b.width / 2 + scrollX, b.top + b.height / 2 + scrollY, r.getAttribute('fill')] })")
    top, left = min(y for _, y, _ in spots) - 4, min(x for x, _, _ in spots) - 4
    shot = b.pixels(left, top, max(x for x, _, _ in spots) + 4 - left, 8)
    seen = [("#%02x%02x%02x" % shot.at(x - left, y - top), want) for x, y, want in spots]
    check("the key has the palette's colours", len(seen) == 8 and all(a == c for a, c in seen), seen)
    legible = b.js("[...document.querySelectorAll('.w[data-token] i')].map(i => [getComputedStyle(i).color, getComputedStyle(i).backgroundImage])")
    bad = [x for x in legible if contrast(rgb(x[0]), rgb(x[1].split("rgb", 1)[1])) < 4.5]
    check("numbers in bars are legible", legible and not bad, bad[:3])


def papers(b, page, out):
    b.open(page, width=360, height=800)
    check("a narrow window needs no scrolling to the side", b.js("document.documentElement.scrollWidth") <= 360, b.js("document.documentElement.scrollWidth"))
    b.shot(out + "/narrow.png")
    b.open(page, dark=True)
    b.shot(out + "/dark.png")
    paper = b.pixels(2, 2, 4, 4).at(1, 1)
    check("dark paper", light(paper) < 0.05, paper)
    for name in ("h1", ".about", ".reading", "figcaption"):
        pair = b.js("[getComputedStyle(document.querySelector('%s')).color, getComputedStyle(document.body).backgroundColor]" % name)
        check("dark: %s is legible" % name, contrast(rgb(pair[0]), rgb(pair[1])) >= 4.5, pair)
    fill = b.js("getComputedStyle(document.querySelector('svg text.t')).fill")
    check("dark: labels are legible", contrast(rgb(fill), paper) >= 4.5, fill)


def main():
    bin_, out = sys.argv[1:]
    os.environ["PATH"] = os.path.abspath(bin_) + ":" + os.environ["PATH"]
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        page, numbers = make(work)
        b = Chromium(work + "/profile")
        try:
            without_program(b, page, out)
            layers(b, page)
            tokens(b, page, numbers, out)
            colours(b, page)
            papers(b, page, out)
            errors = [e["params"] for e in b.events if e.get("method") == "Runtime.exceptionThrown"]
            check("the program has no errors", not errors, errors)
        finally:
            b.close()
    print("web: %s" % ("%d failed" % len(FAILED) if FAILED else "all good, screenshots in " + out))
    sys.exit(bool(FAILED))


main()

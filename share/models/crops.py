# crops.py KIND N SEED OUT FONTS WORK: what crops.sh does once all is installed. WORK has test.tar and unseen.tar from moe-synth, and takes temporary files.
# Pictures depend on the arguments, the fonts and the versions of the programs alone.
import html
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import time

# Text and background, as programs and pages have them.
COLOURS = [("#000000", "#ffffff"), ("#ffffff", "#000000"), ("#222222", "#f5f5f5"), ("#333333", "#eeeeee"), ("#e6e6e6", "#1e1e1e"), ("#5f6368", "#ffffff"),
           ("#0b57d0", "#ffffff"), ("#ffffff", "#0b57d0"), ("#b3261e", "#ffffff"), ("#ffffff", "#c62828"), ("#1b5e20", "#e8f5e9"), ("#ffffff", "#2e7d32"),
           ("#4a148c", "#f3e5f5"), ("#3e2723", "#ffe0b2"), ("#111111", "#ffd54f"), ("#ffeb3b", "#263238"), ("#00e5ff", "#102027"), ("#f8bbd0", "#37003c")]
# Schemes of terminals: background, text, and further colours of text.
SCHEMES = [("#000000", ["#ffffff", "#00cd00", "#cdcd00", "#00cdcd", "#e5e5e5"]), ("#ffffff", ["#000000", "#cd0000", "#0000ee", "#00662a"]),
           ("#000000", ["#33ff33"]), ("#1a0d00", ["#ffb000"]), ("#002b36", ["#93a1a1", "#b58900", "#2aa198", "#859900"]),
           ("#fdf6e3", ["#586e75", "#cb4b16", "#268bd2"]), ("#282a36", ["#f8f8f2", "#50fa7b", "#ff79c6", "#8be9fd"]),
           ("#2e3440", ["#d8dee9", "#a3be8c", "#88c0d0"]),
           ("#300a24", ["#eeeeec", "#8ae234", "#fce94f"]), ("#1d2021", ["#ebdbb2", "#fabd2f", "#8ec07c"])]
# Fonts of the X server itself, dots without grey: no design of the training has them.
X_FONTS = ["6x13", "7x13", "7x13bold", "7x14", "8x13", "8x13bold", "9x15", "9x15bold", "9x18", "10x20"]


def fail(message):
    sys.exit("crops.py: " + message)


def read_fonts(path):
    """Rows of fonts.tsv by the name that moe-synth tags samples with."""
    rows = [line.rstrip("\n").split("\t") for line in open(path) if line.strip() and not line.startswith("#")]
    return {os.path.splitext(os.path.basename(r[1]))[0]: {"file": r[1], "flags": r[4].split(",")} for r in rows}


def read_samples(tar, usable):
    """(string, font) of a shard's samples, each string once, where the font is one that is usable."""
    seen, out = set(), []
    with tarfile.open(tar) as t:
        for member in t:
            if not member.name.endswith(".json"):
                continue
            sample = json.load(t.extractfile(member))
            text, font = sample["questions"][0]["answer"], sample["tags"]["font"]
            if text != text.strip() or text in seen or font not in usable:
                continue
            seen.add(text)
            out.append((text, font))
    return out


def choose(n, rng, usable, work):
    """n of (string, font, unseen): the first half from test, the other from unseen, in random order, no string twice."""
    samples = read_samples(work + "/test.tar", usable)[:n - n // 2]
    known = {text for text, _ in samples}
    other = [s for s in read_samples(work + "/unseen.tar", usable) if s[0] not in known][:n // 2]
    if len(samples) + len(other) < n:
        fail("too few strings")
    chosen = [(*s, False) for s in samples] + [(*s, True) for s in other]
    rng.shuffle(chosen)
    return chosen


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **more).stdout


def imagemagick():
    """The program itself: a `convert` found in PATH may be something else."""
    for name in ("magick", "convert-im6.q16", "/usr/bin/convert"):
        path = shutil.which(name)
        if path and b"ImageMagick" in run(path, "-version"):
            return path
    fail("ImageMagick is not there")


def magick(chosen, rng, fonts, out, work):
    """label: alone, in a border, or on a canvas by -annotate."""
    program = imagemagick()
    for i, (text, font, _) in enumerate(chosen):
        fg, bg = rng.choice(COLOURS)
        points, look = rng.randint(12, 36), rng.choice(["label", "border", "annotate", "gradient"])
        left, top = rng.randint(1, 12), rng.randint(1, 8)
        # What follows a % or a backslash, and a leading @, means something to ImageMagick.
        safe = text.replace("\\", "\\\\").replace("%", "%%")
        safe = "\\" + safe if safe[0] == "@" else safe
        type_ = ["-fill", fg, "-font", fonts[font]["file"], "-pointsize", str(points)]
        label = ["-background", bg, *type_, "label:" + safe]
        to = ["-strip", "-define", "png:exclude-chunks=date,time", "PNG:%s/%05d.png" % (out, i)]
        if look == "label":
            run(program, *label, *to)
        elif look == "border":
            run(program, *label, "-bordercolor", bg, "-border", "%dx%d" % (left, top), *to)
        else:
            w, h = map(int, run(program, *label, "-format", "%w %h", "info:").split())
            other = rng.choice(["#ffffff", "#000000"])
            canvas = "xc:" + bg if look == "annotate" else "gradient:%s-%s" % (bg, mix(bg, other, 0.15))
            run(program, "-size", "%dx%d" % (w + 2 * left, h + 2 * top), canvas, *type_, "-gravity", "center", "-annotate", "0", safe, *to)
        yield "%05d.png" % i, text, font, points, look


def mix(a, b, share):
    at = lambda c: [int(c[k:k + 2], 16) for k in (1, 3, 5)]
    return "#%02x%02x%02x" % tuple(round(x + share * (y - x)) for x, y in zip(at(a), at(b)))


class Display:
    """A virtual display with nothing on it; `shot` is its picture."""

    def __init__(self, work):
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x800x24", "-dpi", "96", "-nolisten", "tcp", "-noreset", "-nocursor", "-fbdir", work]
        self.server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with open(read) as pipe:
            number = pipe.readline().strip()    # ends when the line is complete, or the server has ended
        if not number:
            fail("no virtual display")
        self.env, self.file = dict(os.environ, DISPLAY=":" + number, LC_ALL="C.UTF-8"), work + "/Xvfb_screen0"

    def shot(self):
        """The server's memory itself, a file as xwd writes it: a header of 32-bit numbers, a table of colours, rows of pixels (blue, green, red, unused)."""
        from PIL import Image
        with open(self.file, "rb") as f:
            data = f.read()
        head = struct.unpack(">25I", data[:100])
        offset, width, height, bits, row, colours = head[0], head[4], head[5], head[11], head[12], head[19]
        if head[1] != 7 or bits != 32:
            fail("the virtual display has another format")
        return Image.frombuffer("RGB", (width, height), data[offset + 12 * colours:], "raw", "BGRX", row, 1)

    def close(self):
        self.server.terminate()
        self.server.wait()


MARK = (255, 0, 254)    # no scheme has this colour
COLUMNS, ROWS, SLOT, PER_PAGE = 64, 16, 16, 10


def terminal_page(display, work, font, scheme, cells):
    """An xterm with a row of MARK on top, and under it `cells` (row, column, colour, inverse, bold, text): its picture, the width and height of a cell."""
    bg, colours = scheme
    page = ["\033[?25l\033[2J\033[H\033[48;2;%d;%d;%dm%s\033[0m" % (*MARK, " " * COLUMNS)]
    for row, column, colour, inverse, bold, text in cells:
        rgb = [int(colour[k:k + 2], 16) for k in (1, 3, 5)]
        page.append("\033[%d;%dH\033[38;2;%d;%d;%dm%s%s%s\033[0m" % (row + 1, column + 1, *rgb, "\033[7m" * inverse, "\033[1m" * bold, text))
    open(work + "/page", "w").write("".join(page))
    name = ["-fn", font] if font in X_FONTS else ["-fa", font]
    command = ["xterm", *name, "-geometry", "%dx%d+0+0" % (COLUMNS, ROWS), "-b", "0", "-bw", "0", "+sb", "-bg", bg, "-fg", colours[0],
               "-xrm", "XTerm*directColor: true", "-e", "sh", "-c", 'cat "$1"; exec sleep 600', "sh", work + "/page"]
    term = subprocess.Popen(command, env=display.env, stderr=subprocess.DEVNULL)
    try:
        # Complete when it has the mark, and two pictures are alike.
        last, end = None, time.monotonic() + 300
        while time.monotonic() < end:
            shot = display.shot()
            box = mark_box(shot)
            if box and last and last.tobytes() == shot.tobytes():
                break
            last = shot
            time.sleep(0.2)
        else:
            fail(font + ": xterm showed nothing")
    finally:
        term.terminate()
        term.wait()
    x0, y0, x1, y1 = box
    if (x0, y0) != (0, 0) or x1 % COLUMNS:
        fail("%s: the window is not where it was put" % font)
    return shot, x1 // COLUMNS, y1


def mark_box(shot):
    """Where MARK is, or None."""
    from PIL import ImageChops, Image
    same = ImageChops.difference(shot, Image.new("RGB", shot.size, MARK)).convert("RGB")
    bands = [b.point(lambda v: 255 if v == 0 else 0) for b in same.split()]
    return ImageChops.multiply(ImageChops.multiply(bands[0], bands[1]), bands[2]).getbbox()


def terminal_fonts(fonts):
    """Names for xterm's -fa of the families with a fixed width: seen, unseen."""
    families = {True: [], False: []}
    for f in fonts.values():
        if "mono" not in f["flags"]:
            continue
        family = run("fc-scan", "--format", "%{family[0]}\n", f["file"]).decode().split("\n")[0]
        of = families["held" in f["flags"]]
        if family not in of:
            of.append(family)
    return families[False], families[True]


def terminal(chosen, rng, fonts, out, work):
    """Pages of PER_PAGE strings, each in a font of its own: half of the strings in families that training sees, the others in such that it does not."""
    seen, held = terminal_fonts(fonts)
    display = Display(work)
    try:
        i = 0
        for unseen in (False, True):
            strings = [text for text, _, u in chosen if u == unseen]
            for page, start in enumerate(range(0, len(strings), PER_PAGE)):
                font = rng.choice(seen) if not unseen else rng.choice(held) if page % 2 else rng.choice(X_FONTS)
                if font not in X_FONTS:
                    font += ":pixelsize=%d" % rng.randint(12, 28)
                scheme = rng.choice(SCHEMES)
                slots = rng.sample([(row, column) for row in range(2, ROWS - 1) for column in range(0, COLUMNS, SLOT)], PER_PAGE)
                cells = [(row, column + 1, rng.choice(scheme[1]), rng.random() < 0.15, rng.random() < 0.15, text)
                         for (row, column), text in zip(sorted(slots), strings[start:start + PER_PAGE])]
                shot, w, h = terminal_page(display, work, font, scheme, cells)
                for row, column, colour, inverse, bold, text in cells:
                    # The cells themselves, and up to half a cell at either side, unless that has another background: its edge would look like a character.
                    left, right = (0, 0) if inverse else (rng.randint(0, w // 2), rng.randint(0, w // 2))
                    box = (column * w - left, row * h, (column + len(text)) * w + right, (row + 1) * h)
                    name = "%05d.png" % i
                    shot.crop(box).save(out + "/" + name)
                    i += 1
                    yield name, text, font, h, " ".join([scheme[0], colour] + ["inverse"] * inverse + ["bold"] * bold)
    finally:
        display.close()


CELL_W, CELL_H, ACROSS, DOWN = 560, 90, 3, 16    # in CSS pixels


def browser_page(items):
    """HTML with each item (text, file, size in CSS pixels, style) in its place; #where says what fonts were loaded, and where the texts are."""
    faces, spans = {}, []
    for k, (text, file, size, style) in enumerate(items):
        face = faces.setdefault(file, "f%d" % len(faces))
        spans.append('<div style="left:%dpx;top:%dpx"><b style="font:%gpx %s;%s"><i>%s</i></b></div>'
                     % (20 + k % ACROSS * CELL_W, 20 + k // ACROSS * CELL_H, size, face, style, html.escape(text)))
    # Ligatures are off, since they draw "!=" as a sign that is not in the string.
    css = "".join("@font-face{font-family:%s;src:url('file://%s')}" % (name, file.replace(" ", "%20")) for file, name in faces.items())
    return """<!DOCTYPE html><meta charset="utf-8"><style>%s
body{margin:0;background:#fff} div{position:absolute} b{display:inline-block;white-space:pre;font-variant-ligatures:none} i{font-style:normal}
#where{display:none}
</style>%s<pre id="where"></pre><script>
document.fonts.ready.then(() => {
	const r = [...document.querySelectorAll("i")].map(e => e.getBoundingClientRect()).map(r => [r.left, r.top, r.right, r.bottom]);
	document.getElementById("where").textContent = JSON.stringify({fonts: [...document.fonts].map(f => f.status), boxes: r});
});
</script>""" % (css, "".join(spans))


def chromium(work, scale, *more):
    # It shows our own page alone, and its own sandbox does not start in many containers, nor for root.
    return run("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files", "--no-first-run",
               "--user-data-dir=" + work + "/profile", "--disk-cache-dir=/dev/null", "--virtual-time-budget=20000", "--force-device-scale-factor=%g" % scale,
               "--window-size=%d,%d" % (CELL_W * ACROSS + 40, CELL_H * DOWN + 240), *more, "file://" + work + "/page.html", stderr=subprocess.DEVNULL)


def browser_says(items, work, scale):
    """What #where of their page says; the page is work/page.html."""
    with open(work + "/page.html", "w") as f:
        f.write(browser_page(items))
    said = chromium(work, scale, "--dump-dom").decode().split('<pre id="where">')[1].split("</pre>")[0]
    if not said:
        fail("Chromium did not finish a page")
    return json.loads(html.unescape(said))


def browser_fonts(fonts, names, work):
    """Those of these fonts that Chromium takes: it refuses files in which its own reader finds a fault."""
    names = sorted(names)
    files = list(dict.fromkeys(fonts[name]["file"] for name in names))
    good = {f for f, status in zip(files, browser_says([("a", f, 12, "") for f in files], work, 1)["fonts"]) if status == "loaded"}
    return {name for name in names if fonts[name]["file"] in good}


def browser(chosen, rng, fonts, out, work):
    """Pages of texts: plain, in badges, on buttons, in boxes with a frame; at three resolutions of the screen."""
    from PIL import Image
    per_page = ACROSS * DOWN
    for start in range(0, len(chosen), per_page):
        scale, items, made = rng.choice([1, 1, 1.25, 1.5, 2]), [], []
        for text, font, _ in chosen[start:start + per_page]:
            fg, bg = rng.choice(COLOURS)
            pixels, look = rng.randint(12, 36), rng.choice(["plain", "badge", "button", "frame"])
            style = "color:%s;background:%s;padding:%dpx %dpx;" % (fg, bg, rng.randint(2, 6), rng.randint(4, 12))
            style += {"plain": "", "badge": "border-radius:6px;", "frame": "border:1px solid %s;" % mix(bg, fg, 0.4),
                      "button": "background:linear-gradient(%s,%s);border-radius:3px;" % (bg, mix(bg, "#808080", 0.15))}[look]
            items.append((text, fonts[font]["file"], pixels / scale, style))
            made.append((text, font, pixels, "%s %s %s x%g" % (look, fg, bg, scale)))
        where = browser_says(items, work, scale)
        if set(where["fonts"]) != {"loaded"}:
            fail("Chromium did not load all fonts")
        shot_name = work + "/shot.png"
        chromium(work, scale, "--screenshot=" + shot_name)
        shot = Image.open(shot_name).convert("RGB")
        for k, (row, box) in enumerate(zip(made, where["boxes"])):
            x0, y0, x1, y1 = (v * scale for v in box)
            if x1 - x0 > (CELL_W - 40) * scale or y1 > shot.height:
                fail("%s: too large for its place" % row[0])
            sides = [rng.randint(0, 4) for _ in range(4)]
            name = "%05d.png" % (start + k)
            shot.crop((int(x0) - sides[0], int(y0) - sides[1], int(x1) + 1 + sides[2], int(y1) + 1 + sides[3])).save(out + "/" + name)
            yield (name, *row)


def main():
    kind, n, seed, out, fonts, work = sys.argv[1:]
    n, fonts, rng = int(n), read_fonts(fonts), random.Random("%s %s" % (kind, seed))
    # Fonts of dots in OpenType files are for terminals alone.
    usable = {name for name, f in fonts.items() if not f["file"].endswith(".otb")} if kind != "terminal" else set(fonts)
    if kind == "browser":
        usable = browser_fonts(fonts, usable, work)
    chosen = choose(n, rng, usable, work)
    os.makedirs(out + ".part")
    rows = list({"magick": magick, "terminal": terminal, "browser": browser}[kind](chosen, rng, fonts, out + ".part", work))
    design = {text: "unseen" if u else "seen" for text, _, u in chosen}
    with open(out + ".made.tsv", "w") as f:
        f.writelines("%s\t%s\t%s\t%s\t%s\n" % (name, "X11" if font in X_FONTS else design[text], font, size, look) for name, text, font, size, look in rows)
    os.rename(out + ".part", out)
    with open(out + ".tsv.part", "w") as f:
        f.writelines("%s\t%s\n" % row[:2] for row in rows)
    os.rename(out + ".tsv.part", out + ".tsv")


main()

# scores.py FINGERPRINT SEED FONTS OUT NAME=STEM...: the report of score.sh, OUT/scores.json and OUT/scores.md. Of each set of questions there are STEM.json and
# STEM.answers by moe-eval, and perhaps STEM.tar (its samples), STEM.made.tsv (by crops.sh) and STEM.tesseract (by tesseract.sh). Python's own library
# suffices.
import json
import math
import os
import random
import sys
import tarfile

RESAMPLES = 2000
# What is promised: name, set, which of its questions (None: all), the least share of right answers (or the greatest).
GOALS = [("read, unseen strings", "test-read", ("length", "2 to 12"), 0.97), ("read, unseen designs", "unseen-read", ("length", "2 to 12"), 0.95),
         *(("scene, " + t, "test-scene", ("type", t), 0.95) for t in ("colour", "shape", "size", "texture", "probe")),
         *(("scene, " + t, "test-scene", ("type", t), 0.93) for t in ("exist", "digit", "letter")),
         *(("panel, " + t, "test-panel", ("type", t), 0.90) for t in ("display", "clock", "gauge", "bar", "light-on", "light-colour", "light-count")),
         ("180 crops", "crops", None, 174 / 180), ("first model on read: at most", "first-model", None, -0.94)]
TITLES = {"first-model": "first model, test-read", "crops": "180 crops of the first model's card", "magick": "ImageMagick", "terminal": "terminal (xterm)",
          "browser": "browser (Chromium)"}


def lines(path):
    return [json.loads(line) for line in open(path)]


def key_of(name):
    """A sample's key: the name up to the first dot behind its last slash (moe-shards(5))."""
    return name.rsplit("/", 1)[-1].split(".")[0]


def wilson(right, n):
    """The 95 % interval of a share (Wilson 1927)."""
    z, p = 1.959963984540054, right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def bootstrap(differences, seed=1):
    """The 95 % interval of the mean of `differences`: percentiles of the means of RESAMPLES resamples (Efron 1979)."""
    rng, n = random.Random(seed), len(differences)
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(RESAMPLES))
    return means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]


def score(answers):
    """Figures of some answers, as moe-eval's."""
    n, right = len(answers), sum(a["right"] for a in answers)
    blind = [a["blind_right"] for a in answers if a.get("blind_right") is not None]
    said = {}
    for a in answers:
        said[a["answer"]] = said.get(a["answer"], 0) + 1
    low, high = wilson(right, n)
    return {"n": n, "right": right, "accuracy": right / n, "low": low, "high": high, "blind_n": len(blind),
            "blind_accuracy": sum(blind) / len(blind) if blind else None, "chance": max(said.values()) / n}


def tags_of(tar):
    """The tags of each sample of a shard, by its key."""
    with tarfile.open(tar) as t:
        return {key_of(m.name): json.load(t.extractfile(m)).get("tags", {}) for m in t if m.name.endswith(".json")}


def made_of(path):
    """What crops.sh says of each picture, by its key."""
    rows = [line.rstrip("\n").split("\t") for line in open(path)]
    return {key_of(r[0]): {"design": r[1]} for r in rows}


def length_of(answer):
    n = len(answer["answer"])
    return "1" if n == 1 else "2 to 3" if n < 4 else "4 to 8" if n < 9 else "9 to 12" if n < 13 else "more"


def parts_of(name, stem, answers):
    """(by, value, answers) of the parts of a set that the report tells apart."""
    tags = {}
    for path, read in ((stem + ".tar", tags_of), (stem + ".made.tsv", made_of)):
        if os.path.exists(path):
            tags = read(path)
    asked = [(a, tags.get(key_of(a["name"]), {})) for a in answers]
    out = {}
    for a, tag in asked:
        if a["kind"] in ("read", "text"):
            out.setdefault(("length", length_of(a)), []).append(a)
            # A single character is not a string that training never saw.
            if len(a["answer"]) > 1:
                out.setdefault(("length", "2 to 12"), []).append(a)
        for by in ("design", "unseen") + (("group", "colours") if name == "unseen-read" else ("style",) if a["kind"] == "read" else ()):
            if by in tag:
                out.setdefault((by, tag[by]), []).append(a)
    return [(*k, out[k]) for k in sorted(out)]


def read_tesseract(path):
    """(truth, plain, enlarged) by the key of the picture."""
    with open(path) as f:
        f.readline()
        rows = [line.rstrip("\n").split("\t") for line in f]
    return {key_of(r[0]): (r[1], r[2], r[3]) for r in rows}


def compare(answers, tesseract):
    """The model beside tesseract on the pictures that both were asked: tesseract's better way for all of them, and the paired difference."""
    pairs = [(a["right"], *(tesseract[key_of(a["name"])])) for a in answers if key_of(a["name"]) in tesseract]
    ways = {"plain": [t.strip() == p.strip() for _, t, p, _ in pairs], "enlarged": [t.strip() == e.strip() for _, t, _, e in pairs]}
    way = "enlarged" if sum(ways["enlarged"]) > sum(ways["plain"]) else "plain"
    n, better, right = len(pairs), ways[way], [r for r, *_ in pairs]
    differences = [int(r) - int(o) for r, o in zip(right, better)]
    low, high = bootstrap(differences)
    return {"n": n, "right": sum(right), "accuracy": sum(right) / n, "other_plain": sum(ways["plain"]) / n, "other_enlarged": sum(ways["enlarged"]) / n,
            "other_way": way, "other_right": sum(better), "other_accuracy": sum(better) / n, "only_model": sum(d > 0 for d in differences),
            "only_other": sum(d < 0 for d in differences), "difference": sum(differences) / n, "difference_low": low, "difference_high": high}


def collect(sets):
    """All figures: moe-eval's objects with their set before, parts, comparisons."""
    out = []
    for name, stem in sets:
        answers = lines(stem + ".answers")
        out += [{"set": name, **o} for o in lines(stem + ".json")]
        for by, value, some in parts_of(name, stem, answers):
            out.append({"set": name, "what": "part", "by": by, "value": value, **score(some)})
        if os.path.exists(stem + ".tesseract"):
            out.append({"set": name, "what": "against", "other": "tesseract", **compare(answers, read_tesseract(stem + ".tesseract"))})
    return out


def find(figures, set_, what, **keys):
    return next((f for f in figures if f["set"] == set_ and f.get("what") == what and all(f.get(k) == v for k, v in keys.items())), None)


def goals(figures):
    """Every goal that this report has figures for."""
    out = []
    for name, set_, which, least in GOALS:
        if which is None:
            f = find(figures, set_, "score", kind=None, type=None)
        elif which[0] == "type":
            f = find(figures, set_, "score", type=which[1])
        else:
            f = find(figures, set_, "part", by=which[0], value=which[1])
        if f:
            met = f["right"] / f["n"] >= least if least > 0 else f["right"] / f["n"] <= -least
            out.append({"set": set_, "what": "goal", "goal": name, "at_least" if least > 0 else "at_most": abs(least), "n": f["n"],
                        "accuracy": f["right"] / f["n"], "met": met})
    return out


def percent(x, digits=1):
    return "–" if x is None else "%.*f" % (digits, 100 * x)


def table(head, rows):
    """A table of Markdown; the first column is text, the others are numbers."""
    if not rows:
        return ""
    cells = [head, [":--"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in cells) + "\n"


def figures_of(f):
    """Columns n, right, interval, blind, chance; empty where there is no such set."""
    if f is None:
        return [""] * 5
    return [f["n"], percent(f["accuracy"]), "%s to %s" % (percent(f["low"]), percent(f["high"])), percent(f["blind_accuracy"]), percent(f["chance"])]


def by_type(figures):
    """The splits side by side: per kind and type."""
    rows = []
    for kind in ("read", "scene", "panel"):
        test, unseen = ("%s-%s" % (s, kind) for s in ("test", "unseen"))
        types = [f["type"] for f in figures if f["set"] in (test, unseen) and f.get("what") == "score" and f["kind"] == kind]
        for type_ in dict.fromkeys(sorted(types, key=lambda t: (t is not None, t or ""))):
            if len(set(types)) == 2 and type_ is None:
                continue    # one type alone: its line says the same
            of = [find(figures, s, "score", kind=kind, type=type_) for s in (test, unseen)]
            rows.append([kind + (", " + type_ if type_ and type_ != kind else ", all" if type_ is None else ""), *figures_of(of[0]), *figures_of(of[1])])
    head = ["", "test: n", "right %", "95 % interval", "blind %", "chance %", "unseen: n", "right %", "95 % interval", "blind %", "chance %"]
    return table(head, rows)


def by_part(figures):
    head = ["set", "by", "n", "right %", "95 % interval", "blind %", "chance %"]
    return table(head, [[TITLES.get(f["set"], f["set"]), "%s %s" % (f["by"], f["value"]), *figures_of(f)] for f in figures if f.get("what") == "part"])


def by_crops(figures):
    """Pictures that the toolkit did not draw, and tesseract's answers where it was asked."""
    rows = []
    for set_ in ("crops", "magick", "terminal", "browser"):
        f, t = find(figures, set_, "score", kind=None, type=None), find(figures, set_, "against")
        if f is None:
            continue
        beside = ["", "", "", ""]
        if t is not None:
            beside = [percent(t["other_plain"]), percent(t["other_enlarged"]), "%+.1f" % (100 * t["difference"]),
                      "%+.1f to %+.1f" % (100 * t["difference_low"], 100 * t["difference_high"])]
        rows.append([TITLES[set_], f["n"], f["right"], percent(f["accuracy"]), "%s to %s" % (percent(f["low"]), percent(f["high"]))] + beside)
    return table(["", "n", "right", "right %", "95 % interval", "tesseract %", "enlarged 3× %", "difference", "95 % interval"], rows)


def by_confidence(figures):
    """Per set: share answered / right of these, at each threshold; before them calibration."""
    all_ = [f for f in figures if f.get("what") == "refusal" and f["kind"] is None]
    thresholds = sorted({f["below"] for f in all_})
    rows = []
    for set_ in dict.fromkeys(f["set"] for f in all_):
        s = find(figures, set_, "score", kind=None, type=None)
        row = [TITLES.get(set_, set_), percent(s["accuracy"]), percent(s["confidence"]), percent(s["calibration_error"])]
        for t in thresholds:
            f = find(figures, set_, "refusal", kind=None, below=t)
            row.append("%s / %s" % (percent(f["answered"]), percent(f["accuracy"])) if f else "")
        rows.append(row)
    return table(["", "right %", "confidence %", "ECE %"] + ["at least %g" % t for t in thresholds], rows)


def by_patch(figures):
    all_ = [f for f in figures if f.get("what") == "patches" and f["kind"] is None]
    rows = [[TITLES.get(f["set"], f["set"]), f["n"], percent(f["accuracy"]), percent(f["chance"])] for f in all_]
    return table(["", "patches", "right %", "chance %"], rows)


def report(head, figures):
    first = find(figures, "first-model", "score", kind=None, type=None)
    failed = [(f["set"], f["failed"]) for f in figures if f.get("what") == "evaluation" and f["failed"]]
    parts = ["Model `%s`; splits drawn after training with seed %d (from the fingerprint), fonts `%s`; each set was scored once.\n"
             % (head["model"], head["seed"], head["fonts"])]
    parts += ["**%d samples of %s could not be asked.**\n" % (n, s) for s, n in failed]
    rows = [[g["goal"], percent(g.get("at_least", g.get("at_most"))), percent(g["accuracy"], 2), g["n"], "yes" if g["met"] else "**no**"]
            for g in figures if g.get("what") == "goal"]
    sections = [
        ("Goals", "", table(["", "goal %", "right %", "n", "met"], rows)),
        ("Splits", "Blind: the same questions about another picture. Chance: the share of the commonest right answer.", by_type(figures)),
        ("Yardstick", "" if first is None else "The first model (`share/models/read`) on the same `read` test split: %s %% of %d right (%s to %s)."
         % (percent(first["accuracy"]), first["n"], percent(first["low"]), percent(first["high"])), ""),
        ("Pictures that the toolkit did not draw", "Difference: model minus tesseract (`--psm 7`, at its better of plain and enlarged for the whole set), in "
         "points, with the interval of a paired bootstrap.", by_crops(figures)),
        ("Parts", "Strings of one character stand in all splits.", by_part(figures)),
        ("Refusing", "Answered / right of these, in per cent, if answers below a confidence are refused.", by_confidence(figures)),
        ("Patches", "Patches whose own rows name what lies there.", by_patch(figures))]
    for title, text, body in sections:
        if body or (text and title == "Yardstick"):
            parts.append("\n".join(["## " + title, ""] + ([text, ""] if text else []) + ([body] if body else [])))
    return "\n".join(parts)


def rounded(x):
    """Nine digits, as moe-eval prints: the last bits of a float are no figures."""
    return {k: float("%.9g" % v) if isinstance(v, float) else v for k, v in x.items()}


def write(path, text):
    with open(path + ".part", "w") as f:
        f.write(text)
    os.rename(path + ".part", path)


def main():
    fingerprint, seed, fonts, out = sys.argv[1:5]
    head = {"what": "scores", "model": fingerprint, "seed": int(seed), "fonts": fonts}
    figures = collect([a.split("=", 1) for a in sys.argv[5:]])
    figures += goals(figures)
    write(out + "/scores.json", "".join(json.dumps(rounded(o), ensure_ascii=False) + "\n" for o in [head] + figures))
    write(out + "/scores.md", report(head, figures))


if __name__ == "__main__":
    main()

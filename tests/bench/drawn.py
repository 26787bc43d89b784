"""Are the pictures that a model draws what it was asked for? Another model, which looks at scenes, says what it sees in them.

    drawn.py BIN MODEL LOOKER TEST.tar [PICTURES [OPTION...]]

For scenes of TEST with a single shape, MODEL draws the caption ("<draw> CAPTION<picture>"), and LOOKER describes what was drawn. Prints how often place, colour and shape are those
of the caption: in the pictures that were drawn; in the same pictures, dealt out to other captions; in the real pictures, as they are and as the image tokens of
MODEL say. Options, such as --temperature 1, are those of moe-run that draws.
"""
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile

COLOURS = "red green blue yellow purple orange pink white black grey".split()
PLACES = set("top bottom left right middle".split())
SHAPES = "circle square triangle star diamond cross ring heart".split()


def scenes(shard, folder, most):
    """(caption, colour, shape, path) of the scenes with one shape."""
    found, png = [], None
    with tarfile.open(shard) as tar:
        for member in tar:
            data = tar.extractfile(member).read()
            if member.name.endswith(".png"):
                png = data
                continue
            sample = json.loads(data)
            caption = [q["answer"] for q in sample["questions"] if q["type"] == "caption"]
            things = sample.get("attributes", [])
            if len(things) == 1 and things[0].get("kind") in SHAPES and caption and len(found) < most:
                path = "%s/real%05d.png" % (folder, len(found))
                with open(path, "wb") as f:
                    f.write(png)
                found.append((caption[0], things[0]["colour"], things[0]["kind"], path))
    return found


def draw(tools, model, found, folder, options):
    with open(folder + "/prompts", "w") as f:
        f.writelines("<draw>%s<picture>\n" % s[0] for s in found)
    subprocess.run([tools + "/moe-run", "-q", "-m", model, "--prompts", folder + "/prompts", "-n", "80", "--image", folder + "/drawn%05d.png"] + options, stdout=subprocess.DEVNULL, check=True)
    return ["%s/drawn%05d.png" % (folder, i) for i in range(len(found))]


def tokens(tools, model, paths, folder):
    stream = subprocess.run([tools + "/moe-patchify", "-m", model, "--source", "--files-from", "-"], input="\n".join(paths).encode(), stdout=subprocess.PIPE, check=True).stdout
    subprocess.run([tools + "/moe-encode", "-m", model, "--image", folder + "/token%05d.png"], input=stream, stdout=subprocess.DEVNULL, check=True)
    return ["%s/token%05d.png" % (folder, i) for i in range(len(paths))]


def seen(tools, looker, paths):
    """The words that the looker says of each picture."""
    out = subprocess.run([tools + "/moe-run", "-q", "-m", looker, "-h", "-p", "<image><describe>", "--files-from", "-"], input="\n".join(paths).encode(), stdout=subprocess.PIPE, check=True).stdout
    return [set(line.split()) for line in out.decode().splitlines()]


def report(name, found, words):
    n = len(found)
    colour = sum(s[1] in w for s, w in zip(found, words))
    shape = sum(s[2] in w for s, w in zip(found, words))
    both = sum(s[1] in w and s[2] in w for s, w in zip(found, words))
    place = sum(PLACES & set(s[0].split()) == PLACES & w for s, w in zip(found, words))
    print("%-24s place %5.1f %%  colour %5.1f %%  shape %5.1f %%  both %5.1f %%" % (name, 100 * place / n, 100 * colour / n, 100 * shape / n, 100 * both / n))


def main():
    tools, model, looker, shard = sys.argv[1:5]
    most = int(sys.argv[5]) if len(sys.argv) > 5 else 300
    with tempfile.TemporaryDirectory() as folder:
        found = scenes(shard, folder, most)
        drawn = seen(tools, looker, draw(tools, model, found, folder, sys.argv[6:]))
        others = list(found)
        random.Random(1).shuffle(others)
        print("%d scenes with one shape" % len(found))
        report("drawn", found, drawn)
        report("drawn for others", others, drawn)
        report("real", found, seen(tools, looker, [s[3] for s in found]))
        report("real, as image tokens", found, seen(tools, looker, tokens(tools, model, [s[3] for s in found], folder)))


main()

"""How well the image tokens of a model stand for pictures that it has not seen, beside k-means on its patches.

    quantiser.py BIN MODEL TRAIN.tar TEST.tar [PICTURES]

Prints the peak signal-to-noise ratio of TEST's pictures (as the model takes them, in bytes; from the mean of the squares over all pictures) for the quantiser of MODEL, and
for k-means with as many centres on the patches of TRAIN, 20 rounds from patches that are drawn at random; and how many codes and centres are in use.
"""
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cmd"))
import frames

ROUNDS, TRAINED = 20, 1500


def pictures(shard, folder, most):
    """Writes the first pictures of a shard, and returns their paths."""
    paths = []
    with tarfile.open(shard) as tar:
        for member in tar:
            if member.name.endswith(".png") and len(paths) < most:
                paths.append(os.path.join(folder, "%06d.png" % len(paths)))
                with open(paths[-1], "wb") as f:
                    f.write(tar.extractfile(member).read())
    return paths


def tensors(stream, name):
    """That tensor of all frames, one row of numbers for each row."""
    rows = []
    for raw in frames.split(io.BytesIO(stream)):
        _, t = frames.parse(raw)
        if name in t:
            rows.append(np.frombuffer(t[name][2], np.float32).reshape(t[name][1]))
    return np.concatenate(rows)


def patches(tools, model, paths):
    """The stream of patches, and their pixels as bytes [patches][channels][patch^2]."""
    stream = subprocess.run([tools + "/moe-patchify", "-m", model, "--source", "--files-from", "-"], input="\n".join(paths).encode(), stdout=subprocess.PIPE, check=True).stdout
    settings = json.load(open(model + "/preprocessor_config.json"))
    pixel = tensors(stream, "pixel").astype(np.float64)
    pixel = pixel.reshape(len(pixel), 3, -1)
    return stream, np.rint(pixel * np.array(settings["image_std"])[None, :, None] + np.array(settings["image_mean"])[None, :, None])


def psnr(a, b):
    return 10 * np.log10(255 ** 2 / np.mean((a - b) ** 2))


def nearest(x, centre):
    at = np.empty(len(x), np.int64)
    half = (centre ** 2).sum(1) / 2
    for i in range(0, len(x), 4096):
        at[i:i + 4096] = np.argmax(x[i:i + 4096] @ centre.T - half, 1)
    return at


def k_means(x, k):
    random = np.random.default_rng(1)
    centre = x[random.choice(len(x), k, replace=False)].copy()
    for _ in range(ROUNDS):
        at = nearest(x, centre)
        for c in range(k):
            chosen = x[at == c]
            centre[c] = chosen.mean(0) if len(chosen) else x[random.integers(len(x))]
    return centre


def main():
    tools, model, train, test = sys.argv[1:5]
    most = int(sys.argv[5]) if len(sys.argv) > 5 else 500
    codes = json.load(open(model + "/config.json"))["image_tokens"]["count"]
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/test")
        os.mkdir(folder + "/train")
        stream, real = patches(tools, model, pictures(test, folder + "/test", most))
        features = subprocess.run([tools + "/moe-encode", "-m", model, "--image", folder + "/made%06d.png"], input=stream, stdout=subprocess.PIPE, check=True).stdout
        made = patches(tools, model, sorted(folder + "/" + name for name in os.listdir(folder) if name.startswith("made")))[1]
        used = len(np.unique(tensors(features, "feature"), axis=0))
        known = patches(tools, model, pictures(train, folder + "/train", TRAINED))[1].reshape(-1, real[0].size)
    centre = k_means(known, codes)
    flat = real.reshape(len(real), -1)
    at = nearest(flat, centre)
    print("pictures %d" % min(most, len(real)))
    print("quantiser: PSNR %.2f dB, %d of %d codes in use" % (psnr(real, made), used, codes))
    print("k-means on patches: PSNR %.2f dB, %d of %d centres in use" % (psnr(flat, np.rint(centre[at])), len(np.unique(at)), codes))


main()

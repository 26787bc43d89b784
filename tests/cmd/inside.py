"""What the tests of insights (lens, attention, parts, attribution, splices) compute again in NumPy, from the tensors of a checkpoint and of streams, by the
definitions in the manual and not from the C code."""
import json

import numpy as np

import frames

TYPES = {"F32": "<f4", "I32": "<i4", "U8": "u1", "F16": "<f2", "I64": "<i8"}


def array(t):
    dtype, shape, data = t
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, TYPES[dtype]).reshape(shape)


def weights(folder):
    """A checkpoint in one file: {name: array of float64}, and its config.json."""
    _, tensors = frames.parse(open(folder + "/model.safetensors", "rb").read())
    return {k: array(t).astype("f8") for k, t in tensors.items()}, json.load(open(folder + "/config.json"))


def data(path, kinds=("hidden", "routed", "logits")):
    """The data frames of a stream: [(meta, {name: array})]."""
    with open(path, "rb") as f:
        for raw in frames.split(f):
            meta, tensors = frames.parse(raw)
            if meta["moe.kind"] in kinds:
                yield meta, {k: array(t) for k, t in tensors.items()}


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def fma(a, x, y):
    """float32 fma(a, x, y) of float32 arrays, rounded once: the product is exact in float64, the sum is rounded to odd there (Boldo and Melquiond 2008)."""
    p, y = a.astype("f8") * x.astype("f8"), y.astype("f8")
    s = p + y
    b = s - p
    error = (p - (s - b)) + (y - b)
    even = (s.view("i8") & 1) == 0
    s = np.where((error != 0) & even, np.nextafter(s, np.where(error > 0, np.inf, -np.inf)), s)
    return s.astype("f4")

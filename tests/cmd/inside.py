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


def rotate(x, position, theta):
    """x [T, heads, dim] with half-split pairs, the pairs of the axes of position [A, T] behind each other (Su et al. 2021)."""
    pairs, axes = x.shape[-1] // 2, len(position)
    frequency = theta ** (-np.arange(pairs // axes) / (pairs // axes))
    angle = np.concatenate([p[:, None] * frequency for p in position.astype("f8")], 1)[:, None]
    a, b = x[..., :pairs], x[..., pairs:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1)


def attention(x, layer, w, config, position, image):
    """Weights [heads, T, T] and output [T, hidden] of attention over the rows x of a whole sequence: causal, but a picture's patches see each other."""
    p = f"model.layers.{layer}."
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    u = rms_norm(x, w[p + "input_layernorm.weight"], config["rms_norm_eps"])
    q, k, v = (u @ w[f"{p}self_attn.{n}_proj.weight"].T for n in "qkv")
    dim, t = q.shape[1] // heads, len(x)
    q, k = (rotate(a.reshape(t, -1, dim), position, config["rope_theta"]) for a in (q, k))
    k, v = (a.reshape(t, kv, dim).repeat(heads // kv, 1) for a in (k, v))
    s = np.einsum("thd,shd->hts", q, k) / np.sqrt(dim)
    sees = np.tril(np.ones((t, t), bool)) | ((image[:, None] == image[None]) & (image[None] >= 0))
    weight = np.exp(log_softmax(np.where(sees, s, -np.inf)))
    return weight, np.einsum("hts,shd->thd", weight, v).reshape(t, -1) @ w[p + "self_attn.o_proj.weight"].T


def add_up(frame, layer):
    """hidden behind a layer from the parts in a frame, by the formula of moe-stream(5), bit for bit."""
    x = frame[f"{layer}.residual"]
    total = np.zeros_like(x)
    if f"{layer}.part" in frame:
        part, weight, chosen = (frame[f"{layer}.{n}"] for n in ("part", "weight", "expert_id"))
        for i in range(part.shape[1]):
            total = np.where(chosen[:, i, None] >= 0, fma(np.broadcast_to(weight[:, i, None], x.shape), part[:, i], total), total)
    if f"{layer}.shared" in frame:
        total = total + frame[f"{layer}.shared"]
    return x + total


def unit(h, w, name):
    """A feed-forward network of gate, up and down, for rows h."""
    gate, up, down = (w[f"{name}.{n}_proj.weight"] for n in ("gate", "up", "down"))
    z = h @ gate.T
    return z / (1 + np.exp(-z)) * (h @ up.T) @ down.T

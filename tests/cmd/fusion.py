"""fusion.py MODEL PICTURE.ppm FEATURES.npy HIDDEN.npy: what a native model's pictures become before the trunk, computed here in float64 by the definitions of
the parts: convolutions or one matrix; without an encoder the features, and in the hidden states rows and columns beside them; with one rows and columns,
layers, norm, projector. The picture must fill its grid. Prints the relative root mean square by which each of the two differs, and ends with 1 where that is
more than 2e-6."""
import json
import struct
import sys

import numpy as np

folder, picture, feature, hidden = sys.argv[1:]
config = json.load(open(folder + "/config.json"))
stem = config["vision_stem"]
data = open(folder + "/model.safetensors", "rb").read()
n = struct.unpack("<Q", data[:8])[0]
tensors = {}
for name, t in json.loads(data[8 : 8 + n]).items():
    if name != "__metadata__":
        assert t["dtype"] == "F32", name
        begin, end = t["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + n + begin : 8 + n + end], "<f4").reshape(t["shape"]).astype("f8")


def w(name):
    return tensors["model." + name]


def convolve(x, weight, stride, padding):
    """x [channels][height][width]."""
    size = weight.shape[-1]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:])
    out = np.empty((weight.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = np.tensordot(weight, x[:, i * stride : i * stride + size, j * stride : j * stride + size], 3)
    return out


def silu(x):
    return x / (1 + np.exp(-x))


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + stem["rms_norm_eps"]) * weight


def layer(x, prefix, heads):
    def product(name, x):
        return x @ w(prefix + name + ".weight").T

    h = norm(x, w(prefix + "input_layernorm.weight"))
    q, k, v = (product("self_attn.%s_proj" % name, h).reshape(len(x), heads, -1).transpose(1, 0, 2) for name in "qkv")
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    x = x + product("self_attn.o_proj", (p @ v).transpose(1, 0, 2).reshape(len(x), -1))
    h = norm(x, w(prefix + "post_attention_layernorm.weight"))
    return x + product("mlp.down_proj", silu(product("mlp.gate_proj", h)) * product("mlp.up_proj", h))


def read(path):
    magic, size, _, pixels = open(path, "rb").read().split(b"\n", 3)
    assert magic == b"P6"
    width, height = map(int, size.split())
    return np.frombuffer(pixels, "u1").reshape(height, width, 3).transpose(2, 0, 1).astype("f8")


def differs(have, want):
    have = np.load(have).astype("f8")
    assert have.shape == want.shape, (have.shape, want.shape)
    return np.sqrt(((have - want) ** 2).mean() / (want**2).mean())


processor = json.load(open(folder + "/preprocessor_config.json"))
x = (read(picture) - np.reshape(processor["image_mean"], (3, 1, 1))) / np.reshape(processor["image_std"], (3, 1, 1))
if "layers" in stem:
    for c in stem["layers"]:
        x = convolve(x, w("vision_stem.%s.weight" % c["name"]), c["stride"], c["padding"])
        x = silu(x) if c["activation"] == "silu" else x
else:
    x = convolve(x, w("vision_stem.patch.weight"), config["patch_size"], 0)
rows, columns = x.shape[1:]
x = x.reshape(x.shape[0], -1).T
placed = x
if stem["row_col_embeddings"]:
    placed = x + w("vision_stem.row_embed.weight")[:rows].repeat(columns, 0) + np.tile(w("vision_stem.col_embed.weight")[:columns], (rows, 1))
if stem["type"] == "encoder":
    x = placed
    for i in range(stem["num_hidden_layers"]):
        x = layer(x, "vision_stem.layers.%d." % i, stem["num_attention_heads"])
    x = norm(x, w("vision_stem.norm.weight"))
    if stem["projector"] == "mlp":
        x = silu(x @ w("vision_projector.up_proj.weight").T) @ w("vision_projector.down_proj.weight").T
    else:
        x = x @ w("vision_projector.weight").T
    placed = x
off = differs(feature, x), differs(hidden, placed)
print("features differ by %.1e, hidden states by %.1e" % off)
sys.exit(int(max(off) > 2e-6))

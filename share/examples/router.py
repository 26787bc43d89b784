#!/usr/bin/env python3
"""A router of one's own, in Python with NumPy alone, for --exec:

    moe-run --exec 'route:2=python3 router.py MODEL 2 HOW' picture.png

MODEL is a folder with F32 router weights under their usual names, as the models that ship have them. It routes as the model itself does, and then, by HOW:

    same       nothing else
    random     the same number of experts, drawn evenly, with even weights: does it matter which?
    split      pictures may only take experts of the upper half, words only of the lower: a hard border between modalities
    second     every token takes the experts behind its first choices
"""
import json
import sys
import zlib

import numpy as np

TYPES = {"F32": "<f4", "I32": "<i4", "U8": "|u1"}
model, layer, how = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "same"
config = json.load(open(model + "/config.json"))
draw = np.random.default_rng(1)


def weight(name):
    """An F32 tensor of the model, wherever it lies in the file."""
    with open(model + "/model.safetensors", "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        t = json.loads(f.read(size))[name]
        assert t["dtype"] == "F32", name + " is not F32"
        f.seek(8 + size + t["data_offsets"][0])
        return np.frombuffer(f.read(t["data_offsets"][1] - t["data_offsets"][0]), "<f4").reshape(t["shape"])


norm = weight(f"model.layers.{layer}.post_attention_layernorm.weight")
gate = weight(f"model.layers.{layer}.mlp.gate.weight")
k = config["num_experts_per_tok"]


def route(hidden, modality):
    """hidden [T,H], modality [T] (0 text, 1 image) -> normed [T,H], router logits [T,E], experts [T,K], weights [T,K]."""
    normed = hidden / np.sqrt((hidden * hidden).mean(1, keepdims=True) + config["rms_norm_eps"]) * norm
    logit = normed @ gate.T
    asked = logit.copy()
    if how == "random":
        asked = draw.random(logit.shape)
    elif how == "split":
        upper = np.arange(logit.shape[1]) >= logit.shape[1] // 2
        asked[(modality[:, None] == 1) != upper] = -np.inf
    order = np.argsort(-asked, axis=1, kind="stable")
    expert = order[:, k:2 * k] if how == "second" else order[:, :k]
    p = np.exp(np.take_along_axis(logit, expert, 1) - logit.max(1, keepdims=True))
    return normed, logit, expert, np.full_like(p, 1 / k) if how == "random" else p / p.sum(1, keepdims=True)


# A stream is frame after frame, each a safetensors file: moe-stream(5).
src, dst = sys.stdin.buffer, sys.stdout.buffer
while size := src.read(8):
    header = json.loads(src.read(int.from_bytes(size, "little")))
    meta, tensors = header.pop("__metadata__"), {}
    data = src.read(max((t["data_offsets"][1] for t in header.values()), default=0))
    for name, t in header.items():
        tensors[name] = np.frombuffer(data[slice(*t["data_offsets"])], TYPES[t["dtype"]]).reshape(t["shape"])
    tensors.pop("_pad", None)
    if meta["moe.kind"] == "hidden":
        normed, logit, expert, p = route(tensors["hidden"], tensors["modality"])
        tensors |= {"normed": normed, "router_logit": logit, "expert_id": expert.astype("<i4"), "weight": p}
        meta |= {"moe.kind": "routed", "moe.at": layer + ".route"}
    header, body = {"__metadata__": {**meta, "moe.crc32": "00000000"}}, b""
    for name, x in tensors.items():
        x = np.ascontiguousarray(x, "<f4" if x.dtype.kind == "f" else x.dtype)
        header[name] = {"dtype": {"f": "F32", "i": "I32", "u": "U8"}[x.dtype.kind], "shape": x.shape, "data_offsets": [len(body), len(body) + x.nbytes]}
        body += x.tobytes()
    text = json.dumps(header).encode()
    frame = len(text).to_bytes(8, "little") + text + body
    dst.write(frame.replace(b'crc32": "00000000', b'crc32": "%08x' % zlib.crc32(frame), 1))
    dst.flush()

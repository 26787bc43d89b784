"""A trace of routing from a description in JSON, for tests: make_trace.py <DESCRIPTION | moe-view --seal >TRACE

    {"layers": [0], "experts": 4, "k": 2, "score": "softmax", "blocks": [{"modality": [0, 1], "expert": [[[0, 1], [2, 3]]], "weight": ..., "logit": ...}]}

A block may have seq, start, name, choice, token, image, patch, depth and compared, too; arrays are [layers][rows][...]. In logits null is -inf, in experts none."""
import json
import sys

import numpy as np
from frames import build


def cube(values, dtype, absent):
    return np.array([[[absent if v is None else v for v in row] for row in layer] for layer in values], dtype)


def block(d, b, number):
    rows, meta = len(b["modality"]), {"moe.kind": "trace", "moe.seq": str(b.get("seq", number)), "moe.start": str(b.get("start", 0))}
    for key in ("name", "choice"):
        if key in b:
            meta["moe." + key] = b[key]
    image = b.get("image", [0 if m == 1 else -1 for m in b["modality"]])
    patch, at = [], 0
    for i in image:
        patch.append(at if i >= 0 else -1)
        at += i >= 0
    t = {"token": b.get("token", list(range(rows))), "position": [list(range(rows))], "image": image, "patch_index": b.get("patch", patch)}
    t = {k: np.array(v, "<i4") for k, v in t.items()}
    t["modality"] = np.array(b["modality"], "u1")
    wide = d["experts"] > 255
    t["expert_id"] = cube(b["expert"], "<u2" if wide else "u1", 65535 if wide else 255)
    for key, name in ("weight", "weight"), ("logit", "router_logit"), ("compared", "choice"):
        if key in b:
            t[name] = cube(b[key], "<f2", -np.inf)
    if "depth" in b:
        t["depth"] = np.array(b["depth"], "u1")
    types = {"<i4": "I32", "|u1": "U8", "<u2": "U16", "<f2": "F16"}
    return build(meta, {k: (types[v.dtype.str], list(v.shape), v.tobytes()) for k, v in t.items()})


def main():
    d, out = json.load(sys.stdin), sys.stdout.buffer
    detail = "logits" if "logit" in d["blocks"][0] else "weights" if "weight" in d["blocks"][0] else "ids"
    info = {k: d[k] for k in ("layers", "experts", "k")} | {"score": d.get("score", "softmax"), "renormalise": False, "detail": detail}
    meta = {"moe.kind": "head", "moe.stream": "1.0", "moe.trace": json.dumps(info)}
    if "model" in d:
        meta["moe.model"] = d["model"]
    out.write(build(meta, {}))
    for number, b in enumerate(d["blocks"]):
        out.write(block(d, b, number))
    out.write(build({"moe.kind": "end"}, {}))


main()

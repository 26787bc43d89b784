"""Traces of routing in Python's standard library and NumPy, written from moe-stream(5), so that the tests have a second opinion.

    traces.py rows FILE...      a JSON line for each token and layer, of all files together, in the order of layers, sequences and starts
    traces.py body FILE         the frames without the head, as bytes: what must not depend on how a run was cut
"""
import json
import sys

import numpy as np

import frames

TYPES = {"U8": "u1", "U16": "<u2", "U64": "<u8", "I32": "<i4", "F16": "<f2"}


def blocks(path):
    """(info, meta, arrays) of each frame."""
    info = None
    with open(path, "rb") as f:
        for raw in frames.split(f):
            meta, tensors = frames.parse(raw)
            if meta["moe.kind"] == "head":
                info = json.loads(meta["moe.trace"])
            elif meta["moe.kind"] == "trace":
                yield info, meta, {k: np.frombuffer(d, TYPES[t]).reshape(s) for k, (t, s, d) in tensors.items()}


def rows(path):
    """A dictionary for each token and layer."""
    for info, meta, a in blocks(path):
        start, step = int(meta["moe.start"]), int(meta["moe.step"])
        for l, layer in enumerate(info["layers"]):
            for t, token in enumerate(a["token"]):
                row = {"layer": layer, "seq": int(meta["moe.seq"]), "row": start + t, "step": step + t if step else 0, "token": int(token),
                       "position": a["position"][:, t].tolist(), "modality": int(a["modality"][t]), "image": int(a["image"][t]),
                       "patch": int(a["patch_index"][t]), "experts": [int(e) for e in a["expert_id"][l, t] if e != (255 if info["experts"] <= 255 else 65535)]}
                if "weight" in a:
                    row["weights"] = a["weight"][l, t, :len(row["experts"])].astype(float).tolist()
                if "router_logit" in a:
                    row["logits"] = a["router_logit"][l, t].astype(float).tolist()
                yield row


def main(what, *paths):
    if what == "rows":
        everything = [r for p in paths for r in rows(p)]
        for r in sorted(everything, key=lambda r: (r["layer"], r["seq"], r["row"])):
            print(json.dumps(r))
    elif what == "body":
        with open(paths[0], "rb") as f:
            for raw in list(frames.split(f))[1:]:
                sys.stdout.buffer.write(raw)


if __name__ == "__main__":
    main(*sys.argv[1:])

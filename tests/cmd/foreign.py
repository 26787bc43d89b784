"""foreign.py FOLDER: routing as other engines write it, of one made-up run: 300 tokens, of which the first 290 were given, 3 layers, 6 experts, top 2; written from
the engines' descriptions and not from the C code. truth.json is what each must become."""
import base64
import io
import json
import struct
import sys

import numpy as np

T, GIVEN, L, K, E = 300, 290, 3, 2, 6


def npy(a):
    b = io.BytesIO()
    np.save(b, a)
    return b.getvalue()


def b64(data):
    return base64.b64encode(data).decode()


def gguf(path, tensors, keys):
    """A GGUF file of F32 tensors: {name: array}, shapes with the fastest axis first."""
    def string(s):
        return struct.pack("<Q", len(s)) + s.encode()

    head, data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)), b""
    for key, v in keys.items():
        head += string(key) + (struct.pack("<I", 8) + string(v) if isinstance(v, str) else struct.pack("<II", 4, v))
    for name, a in tensors.items():
        head += string(name) + struct.pack("<I", a.ndim) + struct.pack(f"<{a.ndim}Q", *a.shape[::-1]) + struct.pack("<IQ", 0, len(data))
        data += a.astype("<f4").tobytes()
        data += bytes(-len(data) % 32)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


def main(folder):
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(T, L, E)).astype("<f2").astype("<f4")
    ids = np.argsort(-logits, axis=-1, kind="stable")[..., :K]
    p = np.exp(logits.astype("f8"))
    weights = np.take_along_axis(p / p.sum(-1, keepdims=True), ids, -1)
    tokens = rng.integers(0, 1000, T)
    out = {
        "vllm.json": json.dumps({
            "id": "cmpl-7", "object": "text_completion", "prompt_token_ids": tokens[:GIVEN].tolist(), "prompt_routed_experts": ids[:GIVEN].tolist(),
            "choices": [{"index": 0, "text": "\u00e9\\\"", "token_ids": tokens[GIVEN:].tolist() + [2], "routed_experts": ids[GIVEN:].tolist(), "logprobs": None}],
            "usage": {"prompt_tokens": GIVEN, "completion_tokens": T - GIVEN + 1}}),
        "vllm-npy.json": json.dumps({
            "id": "cmpl-7", "choices": [{"index": 0, "prompt_token_ids": tokens[:GIVEN].tolist(), "token_ids": tokens[GIVEN:].tolist() + [2],
                                         "routed_experts": b64(npy(ids.astype("<i2")))}], "usage": {"prompt_tokens": GIVEN}}, indent=2),
        "sglang.json": json.dumps({
            "text": "", "output_ids": tokens[GIVEN:].tolist() + [2],
            "meta_info": {"id": "cmpl-7", "prompt_tokens": GIVEN, "completion_tokens": T - GIVEN + 1, "routed_experts": b64(ids.astype("<i4").tobytes())}}),
        "two.jsonl": "".join(json.dumps({"id": f"r{i}", "choices": [{"routed_experts": ids[a:b].tolist()}]}) + "\n" for i, (a, b) in enumerate(((0, 9), (9, 20)))),
        "array.json": json.dumps([{"id": "a", "outputs": [{"routed_experts": ids[:2].tolist()}, {"routed_experts": ids[2:5].tolist()}]}]),
        "nones.json": json.dumps({"choices": [{"routed_experts": [[[-1, -1], [-1, 4], [-1, -1]], [[1, 0], [-1, -1], [-1, -1]]]}]}),
        "colibri.trace": "".join(
            f"{call} {row - a} {l + 1} " + " ".join(f"{e}:{g:.6g}" for e, g in reversed(list(zip(ids[row, l], weights[row, l])))) + "\n"
            for call, (a, b, l) in enumerate((a, b, l) for a, b in [(0, GIVEN)] + [(i, i + 1) for i in range(GIVEN, T)] for l in range(L))
            for row in range(a, b)),
        "colibri.usage": f"-1 {L + 1} {E}\n-2 1 3815245270\n" + "".join(f"{l + 1} {e} {n}\n" for l in range(L) for e, n in enumerate(np.bincount(ids[:, l].ravel(), minlength=E)) if n),
    }
    for name, text in out.items():
        with open(f"{folder}/{name}", "w") as f:
            f.write(text)
    arrays = {"tlk": ids.astype("<i4"), "tkl": ids.transpose(0, 2, 1).astype("u1"), "fortran": np.asfortranarray(ids.astype("<i8")),
              "lte": logits.transpose(1, 0, 2).astype("<f4"), "tle": logits.astype("<f2"), "weights": weights.astype("<f4"), "tokens": tokens.astype("<i4"),
              "one": ids[:, 0].astype("<i2")}
    for name, a in arrays.items():
        np.save(f"{folder}/{name}.npy", a)
    tensors = {"blk.0.attn_q.weight.counts": np.array([[T]]), "blk.0.attn_q.weight.in_sum2": np.ones((1, 4))}
    for l in range(L):
        n = np.bincount(ids[:, l].ravel(), minlength=E).reshape(E, 1)
        for part in ("gate", "up", "down"):
            tensors[f"blk.{l + 1}.ffn_{part}_exps.weight.counts"] = n
            tensors[f"blk.{l + 1}.ffn_{part}_exps.weight.in_sum2"] = np.ones((E, 4))
        tensors[f"blk.{l + 1}.ffn_gate_inp.weight.counts"] = np.array([[T]])
    keys = {"general.type": "imatrix", "imatrix.chunk_count": 1, "imatrix.chunk_size": T}
    gguf(f"{folder}/imatrix.gguf", tensors, keys)
    gguf(f"{folder}/uneven.gguf", {**tensors, "blk.2.ffn_up_exps.weight.counts": np.arange(E).reshape(E, 1)}, keys)
    gguf(f"{folder}/half.gguf", {**tensors, "blk.1.ffn_gate_exps.weight.counts": np.full((E, 1), 0.5)}, keys)
    gguf(f"{folder}/dense.gguf", {k: v for k, v in tensors.items() if "exps" not in k}, keys)
    json.dump({"ids": ids.tolist(), "weights": weights.tolist(), "logits": logits.tolist(), "tokens": tokens.tolist()}, open(f"{folder}/truth.json", "w"))


main(sys.argv[1])

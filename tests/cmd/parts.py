"""parts.py KIND DIR: makes a small model with random weights in DIR, and a family file DIR/family.json for it, of parts that no shipped checkpoint of the tests
has; writes DIR/want.npy, the logits of the tokens in DIR/tokens, computed here in float64 by the definitions of the parts."""
import json
import sys

import numpy as np

H, LAYERS, VOCAB, HEADS, KV, DIM, E, K, W, DW, SW = 48, 3, 700, 4, 2, 20, 8, 3, 24, 40, 32
ROT = 12            # numbers of a head that turn
WINDOW = 7
rng = np.random.default_rng(11)
tensors, weights = {}, {}


def bf16(a):
    u = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)


def widen(u):
    return (u.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def add(name, *shape, scale=0.3, base=0.0):
    u = bf16(base + scale * rng.standard_normal(shape))
    tensors[name] = ("BF16", u)
    weights[name] = widen(u)
    return weights[name]


F8 = np.array([(-1.0 if b & 128 else 1.0) * ((b & 7) / 8 * 2.0**-6 if not b >> 3 & 15 else (1 + (b & 7) / 8) * 2.0 ** ((b >> 3 & 15) - 7)) for b in range(256)])


def add_f8(name, out, inner):
    """Bytes and one scale for each block of 128 x 128."""
    b = rng.integers(0, 0x50, (out, inner)).astype(np.uint8) | (rng.integers(0, 2, (out, inner)) << 7).astype(np.uint8)
    s = bf16(0.05 + 0.05 * rng.random((-(-out // 128), -(-inner // 128))))
    tensors[name], tensors[name + "_scale_inv"] = ("F8_E4M3", b), ("BF16", s)
    scale = widen(s).repeat(128, 0)[:out].repeat(128, 1)[:, :inner]
    weights[name] = (F8[b] * scale).astype(np.float32).astype(np.float64)
    return weights[name]


def norm(x, w, b):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w + b


def silu(x):
    return x / (1 + np.exp(-x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def turn(x, theta=10000.0):
    """x [T, heads, DIM]: adjacent pairs of the first ROT numbers."""
    n, out = ROT // 2, x.copy()
    angle = np.arange(x.shape[0])[:, None] * theta ** (-np.arange(n) / n)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., 0:ROT:2], x[..., 1:ROT:2]
    out[..., 0:ROT:2], out[..., 1:ROT:2] = a * c - b * s, a * s + b * c
    return out


def attention(x, p, kind):
    T = len(x)
    q = x @ (add_f8(p + "q.weight", HEADS * DIM, H) if kind == "f8" else add(p + "q.weight", HEADS * DIM, H)).T + add(p + "q.bias", HEADS * DIM)
    k = x @ add(p + "k.weight", KV * DIM, H).T + add(p + "k.bias", KV * DIM)
    v = x @ add(p + "v.weight", KV * DIM, H).T + add(p + "v.bias", KV * DIM)
    q, k, v = turn(q.reshape(T, HEADS, DIM)), turn(k.reshape(T, KV, DIM)).repeat(HEADS // KV, 1), v.reshape(T, KV, DIM).repeat(HEADS // KV, 1)
    s = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(DIM)
    i, j = np.arange(T)[:, None], np.arange(T)
    s = np.where((j <= i) & (i - j < WINDOW), s, -np.inf)
    s = np.exp(s - s.max(-1, keepdims=True))
    s /= s.sum(-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", s, v).reshape(T, HEADS * DIM) @ add(p + "o.weight", H, HEADS * DIM).T + add(p + "o.bias", H)


def unit(x, gate, up, down):
    return silu(x @ gate.T) * (x @ up.T) @ down.T


def dense(x, p):
    both = add(p + "both.weight", 2 * DW, H)                       # the halves of one tensor
    return unit(x, both[:DW], both[DW:], add(p + "down.weight", H, DW))


def route(x, p):
    """Sigmoid scores with a bias for the choice; 2 of 4 groups by their two largest."""
    z = x @ add(p + "router.weight", H, E) + add(p + "router.bias", E)      # [in][out]
    s = sigmoid(z)
    c = s + add(p + "choice", E)
    group = np.sort(c.reshape(-1, 4, E // 4), -1)[..., -2:].sum(-1)
    keep = (group >= np.sort(group, -1)[:, -2:-1]).repeat(E // 4, 1)
    chosen = np.argsort(np.where(keep, -c, np.inf), -1, kind="stable")[:, :K]
    w = np.take_along_axis(s, chosen, -1)
    return chosen, w / (w.sum(-1, keepdims=True) + 1e-3) * 1.7


def experts(x, p):
    chosen, w = route(x, p)
    both, down = add(p + "experts.both", E, 2 * W, H), add(p + "experts.down", E, W, H)     # rows gate, up, gate, up, ...; [in][out]
    y = np.zeros_like(x)
    for t in range(len(x)):
        for e, g in zip(chosen[t], w[t]):
            y[t] += g * unit(x[t], both[e, 0::2], both[e, 1::2], down[e].T)
    shared = unit(x, add(p + "shared.gate", SW, H), add(p + "shared.up", SW, H), add(p + "shared.down", H, SW))
    return y + sigmoid(x @ add(p + "shared.router", 1, H).T) * shared


def forward(tokens, kind):
    x = add("embed", VOCAB, H, scale=1)[tokens]
    for l in range(LAYERS):
        p = f"layers.{l}."
        x = x + attention(norm(x, add(p + "n1.weight", H, base=1), add(p + "n1.bias", H)), p, kind)
        n = norm(x, add(p + "n2.weight", H, base=1), add(p + "n2.bias", H))
        x = x + (dense(n, p) if l == 1 else experts(n, p))
    return norm(x, add("n.weight", H, base=1), add("n.bias", H)) @ weights["embed"].T


FAMILY = {
    "family": "parts", "match": {"model_type": "parts"}, "layers": {"count": "@layers"}, "hidden": H, "vocab": VOCAB, "tied": True,
    "norm": {"kind": "layer", "eps": 1e-5},
    "attention": {"heads": HEADS, "kv_heads": KV, "head_dim": DIM, "qkv_bias": True, "o_bias": True, "window": "@window",
                  "rope": {"pairs": "adjacent", "dim": ROT, "theta": 10000}},
    "router": {"experts": E, "top_k": K, "bias": True, "choice_bias": True, "groups": 4, "top_groups": 2, "group_score": "top2", "score": "sigmoid",
               "renormalise": True, "eps": 1e-3, "scale": 1.7},
    "experts": {"width": W}, "shared_experts": {"count": 1, "width": SW, "gate": True}, "dense": {"width": DW, "layers": [1]},
    "text": {"eos": []},
    "prefixes": {"layer": "layers.{L}."},
    "tensors": {
        "text": {"embed": "embed", "final_norm": "n.weight", "final_norm_bias": "n.bias"},
        "layer": {
            "attn_norm": "n1.weight", "attn_norm_bias": "n1.bias", "ffn_norm": "n2.weight", "ffn_norm_bias": "n2.bias",
            "q": "q.weight:oi", "k": "k.weight:oi", "v": "v.weight:oi", "o": "o.weight:oi", "q_bias": "q.bias", "k_bias": "k.bias", "v_bias": "v.bias",
            "o_bias": "o.bias", "router": "router.weight:io", "router_bias": "router.bias", "choice_bias": "choice",
            "gate": "experts.both:eoi:0%2", "up": "experts.both:eoi:1%2", "down": "experts.down:eio",
            "shared_gate": "shared.gate:oi", "shared_up": "shared.up:oi", "shared_down": "shared.down:oi", "shared_router": "shared.router:oi",
            "dense_gate": "both.weight:oi:0/2", "dense_up": "both.weight:oi:1/2", "dense_down": "down.weight:oi",
        },
    },
}


def main():
    kind, folder = sys.argv[1:]
    tokens = np.array([int(t) for t in open(folder + "/tokens").read().split()])
    np.save(folder + "/want.npy", forward(tokens, kind))
    header, payload = {}, b""
    for name, (dtype, a) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [len(payload), len(payload) + a.nbytes]}
        payload += a.tobytes()
    text = json.dumps(header).encode()
    open(folder + "/model.safetensors", "wb").write(len(text).to_bytes(8, "little") + text + payload)
    json.dump({"model_type": "parts", "layers": LAYERS, "window": WINDOW}, open(folder + "/config.json", "w"))
    json.dump(FAMILY, open(folder + "/family.json", "w"))


main()

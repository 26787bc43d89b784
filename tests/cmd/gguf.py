"""gguf.py FAMILY MODEL OUT: a folder of one of the text families as a GGUF file, as llama.cpp's converter lays it out, written from the format's
description and not from the C code. Weights keep their type."""
import json
import struct
import sys

import numpy

import frames

TYPES = {"F32": 0, "F16": 1, "BF16": 30}
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight", "self_attn.q_proj.bias": "attn_q.bias", "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias", "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight", "block_sparse_moe.gate.weight": "ffn_gate_inp.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight", "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight", "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
}
EXPERT = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down", "w1": "gate", "w3": "up", "w2": "down"}


def string(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def value(v):
    if isinstance(v, bool):
        return struct.pack("<IB", 7, v)
    if isinstance(v, int):
        return struct.pack("<II", 4, v)
    if isinstance(v, float):
        return struct.pack("<If", 6, v)
    if isinstance(v, str):
        return struct.pack("<I", 8) + string(v)
    kind = 8 if isinstance(v[0], str) else 5
    return struct.pack("<IIQ", 9, kind, len(v)) + b"".join(string(e) if kind == 8 else struct.pack("<i", e) for e in v)


def keys(arch, c, tok):
    k = {"general.architecture": arch}
    for name, key in (("block_count", "num_hidden_layers"), ("embedding_length", "hidden_size"), ("attention.head_count", "num_attention_heads"),
                      ("attention.head_count_kv", "num_key_value_heads"), ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
                      ("context_length", "max_position_embeddings"), ("expert_used_count", "num_experts_per_tok"), ("feed_forward_length", "intermediate_size"),
                      ("attention.key_length", "head_dim"), ("attention.clamp_kqv", "clip_qkv"), ("attention.sliding_window", "sliding_window"),
                      ("expert_feed_forward_length", "moe_intermediate_size"), ("expert_shared_feed_forward_length", "shared_expert_intermediate_size")):
        if c.get(key) is not None:
            k[f"{arch}.{name}"] = c[key]
    k[f"{arch}.rope.freq_base"] = float(c["rope_theta"])
    k[f"{arch}.expert_count"] = c.get("num_experts", c.get("num_local_experts"))
    if "norm_topk_prob" in c:
        k[f"{arch}.expert_weights_norm"] = c["norm_topk_prob"]
    vocab = {**tok["model"]["vocab"], **{a["content"]: a["id"] for a in tok["added_tokens"]}}
    tokens = sorted(vocab, key=vocab.get)
    special = {a["content"] for a in tok["added_tokens"]}
    k.update({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens,
              "tokenizer.ggml.token_type": [3 if t in special else 1 for t in tokens],
              "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in tok["model"]["merges"]]})
    return k


def permute(w, heads):
    """Rows of queries and keys so that the pairs that turn together are neighbours."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def tensors(arch, c, model):
    out, experts = {}, {}
    _, have = frames.parse(open(model + "/model.safetensors", "rb").read())
    for name, (dtype, shape, data) in have.items():
        w = numpy.frombuffer(data, numpy.uint32 if dtype == "F32" else numpy.uint16).reshape(shape)
        part = name.split(".")
        layer = f"blk.{part[2]}." if part[1] == "layers" else ""
        inner = ".".join(part[3:]) if layer else name
        if "experts" in part:
            experts.setdefault((layer, EXPERT[part[-2]], dtype), {})[int(part[-3])] = w
            continue
        if arch == "llama" and part[-2] in ("q_proj", "k_proj"):
            w = permute(w, c["num_attention_heads" if part[-2] == "q_proj" else "num_key_value_heads"])
        if "shared_expert_gate" in part:
            w = w.reshape(-1)
        out[layer + NAMES[inner]] = (dtype, w)
    for (layer, what, dtype), e in experts.items():
        out[f"{layer}ffn_{what}_exps.weight"] = (dtype, numpy.stack([e[i] for i in range(len(e))]))
    return out


def main(arch, model, path):
    c = json.load(open(model + "/config.json"))
    k = keys(arch, c, json.load(open(model + "/tokenizer.json")))
    t = tensors(arch, c, model)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(t), len(k)) + b"".join(string(n) + value(v) for n, v in k.items())
    body = b""
    for name, (dtype, w) in t.items():
        head += string(name) + struct.pack("<I", w.ndim) + b"".join(struct.pack("<Q", d) for d in w.shape[::-1]) + struct.pack("<IQ", TYPES[dtype], len(body))
        body += w.tobytes()
        body += bytes(-len(body) % 32)
    open(path, "wb").write(head + bytes(-len(head) % 32) + body)


main(*sys.argv[1:])

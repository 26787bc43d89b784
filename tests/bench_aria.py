#!/usr/bin/env python3
"""bench_aria.py BIN: Aria at its real shapes, with four of its 28 layers and random bf16 weights: how fast it opens, how much memory it takes beside what
moe-info predicts, and the speed of a prompt, of generation and of the tower. The model (9.3 GB) is made once, in build/bench."""
import json
import os
import shutil
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODEL = os.path.join(ROOT, "build", "bench", "aria4")
LAYERS, HIDDEN, EXPERTS, WIDTH, VOCAB, VIT, VIT_WIDTH, VIT_LAYERS = 4, 2560, 64, 1664, 100352, 1152, 4304, 27
CONFIG = {
    "model_type": "aria", "image_token_index": 9, "torch_dtype": "bfloat16", "projector_patch_to_query_dict": {"1225": 128, "4900": 256},
    "text_config": {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 20, "num_key_value_heads": 20, "intermediate_size": WIDTH,
                    "moe_num_experts": EXPERTS, "moe_topk": 6, "vocab_size": VOCAB, "rope_theta": 5000000},
    "vision_config": {"hidden_size": VIT, "num_attention_heads": 16, "num_hidden_layers": VIT_LAYERS, "intermediate_size": VIT_WIDTH, "image_size": 980,
                      "patch_size": 14},
}


def text_tensors():
    yield "language_model.model.embed_tokens.weight", (VOCAB, HIDDEN)
    for l in range(LAYERS):
        p = f"language_model.model.layers.{l}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield p + name + ".weight", (HIDDEN,)
        for name in "qkvo":
            yield p + f"self_attn.{name}_proj.weight", (HIDDEN, HIDDEN)
        yield p + "mlp.router.weight", (EXPERTS, HIDDEN)
        yield p + "mlp.experts.fc1.weight", (EXPERTS, HIDDEN, 2 * WIDTH)
        yield p + "mlp.experts.fc2.weight", (EXPERTS, WIDTH, HIDDEN)
        for name in ("gate", "up"):
            yield p + f"mlp.shared_experts.{name}_proj.weight", (2 * WIDTH, HIDDEN)
        yield p + "mlp.shared_experts.down_proj.weight", (HIDDEN, 2 * WIDTH)
    yield "language_model.model.norm.weight", (HIDDEN,)
    yield "language_model.lm_head.weight", (VOCAB, HIDDEN)


def linear(name, out, inner, bias=True):
    yield name + ".weight", (out, inner)
    if bias:
        yield name + ".bias", (out,)


def vision_tensors():
    yield "vision_tower.embeddings.patch_embedding.weight", (VIT, 3, 14, 14)
    yield "vision_tower.embeddings.patch_embedding.bias", (VIT,)
    yield "vision_tower.embeddings.position_embedding.weight", (4900, VIT)
    for l in range(VIT_LAYERS):
        p = f"vision_tower.encoder.layers.{l}."
        for name in ("layer_norm1", "layer_norm2"):
            yield p + name + ".weight", (VIT,)
            yield p + name + ".bias", (VIT,)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(p + "self_attn." + name, VIT, VIT)
        yield from linear(p + "mlp.fc1", VIT_WIDTH, VIT)
        yield from linear(p + "mlp.fc2", VIT, VIT_WIDTH)
    p = "multi_modal_projector."
    yield p + "query", (256, VIT)
    for name in ("cross_attn.layer_norm", "cross_attn.layer_norm_kv", "layer_norm"):
        yield p + name + ".weight", (VIT,)
        yield p + name + ".bias", (VIT,)
    for name in ("q_proj", "k_proj", "v_proj"):
        yield from linear(p + "cross_attn." + name, VIT, VIT, False)
    yield p + "cross_attn.multihead_attn.in_proj_weight", (3 * VIT, VIT)
    yield p + "cross_attn.multihead_attn.in_proj_bias", (3 * VIT,)
    yield from linear(p + "cross_attn.multihead_attn.out_proj", VIT, VIT)
    yield from linear(p + "cross_attn.linear", VIT, VIT)
    yield p + "feed_forward.linear_in.weight", (HIDDEN, VIT)
    yield p + "feed_forward.linear_out.weight", (HIDDEN, HIDDEN)


def write_random(f, n, norm, rng):
    """n bf16 values: ones for norms, else of size 0.01 to 0.04 and either sign."""
    while n:
        m = min(n, 1 << 26)
        if norm:
            a = np.full(m, 0x3F80, np.uint16)
        else:
            a = np.frombuffer(rng.bytes(2 * m), np.uint16) & 0x80FF | 0x3C00
        f.write(a.tobytes())
        n -= m


def make():
    part = MODEL + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    rng, index = np.random.default_rng(1), {}
    for shard, tensors in (("model-00001-of-00002", list(text_tensors())), ("model-00002-of-00002", list(vision_tensors()))):
        header, at = {}, 0
        for name, shape in tensors:
            n = int(np.prod(shape))
            header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + 2 * n]}
            index[name] = shard + ".safetensors"
            at += 2 * n
        text = json.dumps(header).encode()
        with open(f"{part}/{shard}.safetensors", "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            for name, shape in tensors:
                write_random(f, int(np.prod(shape)), "norm" in name and name.endswith("weight"), rng)
    json.dump({"weight_map": index}, open(part + "/model.safetensors.index.json", "w"))
    json.dump(CONFIG, open(part + "/config.json", "w"))
    shutil.copy(os.path.join(ROOT, "tests/golden/aria/model/tokenizer.json"), part)
    os.rename(part, MODEL)


def run(*command):
    """Output, seconds, peak memory in bytes."""
    r, w = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        os.dup2(w, 1)
        os.close(r)
        os.execv(command[0], command)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}: status {status}")
    return text, time.monotonic() - start, usage.ru_maxrss * 1024


def seconds_of(*command):
    """Of the answer, less those of opening: the program's own clock."""
    return json.loads(run(*command)[0])["seconds"]


def main():
    tool = lambda name: os.path.join(os.path.abspath(sys.argv[1]), name)
    if not os.path.isdir(MODEL):
        print("making the model (9.3 GB) ...", flush=True)
        make()
    for name in os.listdir(MODEL):          # the page cache first: what is measured is the program
        with open(os.path.join(MODEL, name), "rb") as f:
            while f.read(1 << 24):
                pass
    m = ("-m", MODEL)
    _, seconds, _ = run(tool("moe-info"), *m, "--json")
    print(f"open and bind                {seconds:8.3f} s     (bar 1 s)")
    prompt = "The quick brown fox routes every token. " * 26
    base = json.loads(run(tool("moe-run"), *m, "--json", "--timings", "-n", "1", "-p", "A")[0])["seconds"]
    for threads in ("1", "2"):
        text, _, peak = run(tool("moe-run"), *m, "-t", threads, "--json", "--timings", "-n", "1", "-p", prompt)
        a = json.loads(text)
        print(f"prompt of {a['prompt_tokens']:4}, {threads} threads      {a['prompt_tokens'] / (a['seconds'] - base):8.1f} tokens/s")
        predicted = json.loads(run(tool("moe-info"), *m, "--json", "--tokens", str(a["prompt_tokens"] + 1))[0])
        without = predicted["memory"]["total"] - 2 * (predicted["parts"]["tower"] + predicted["parts"]["projector"])
        print(f"memory, {threads} threads            {peak / 1e9:8.3f} GB    predicted {without / 1e9:.3f} ({100 * (peak / without - 1):+.1f} %, bar 5 %)")
        short = seconds_of(tool("moe-run"), *m, "-t", threads, "--json", "--timings", "-n", "1", "-p", "Hello there")
        a = json.loads(run(tool("moe-run"), *m, "-t", threads, "--json", "--timings", "-n", "33", "-p", "Hello there")[0])
        print(f"generation, {threads} threads        {(a['generated_tokens'] - 1) / (a['seconds'] - short):8.2f} tokens/s")
        picture = os.path.join(ROOT, "tests/golden/aria/pics/square.png")
        for size in ("490", "980"):
            a = seconds_of(tool("moe-run"), *m, "-t", threads, "--json", "--timings", "-n", "1", "--max-image-size", size, "-p", "<image>", picture)
            print(f"picture of {size}, {threads} threads     {a - base:8.2f} s")


main()

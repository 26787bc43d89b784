"""routed.py BASE OUT KEY=JSON...: a native model whose tokens are routed in another way: a copy of BASE with these keys in its config.json, and with random
weights of what they ask for (depth, auxiliary routers, thresholds). Router and attention weights are made larger, so that rows differ in what is chosen."""
import json, os, shutil, sys

import numpy as np

base, out, *keys = sys.argv[1:]
os.makedirs(out)
for name in os.listdir(base):
    if name not in ("config.json", "model.safetensors"):
        shutil.copy(os.path.join(base, name), out)
config = json.load(open(f"{base}/config.json"))
for key in keys:
    name, _, value = key.partition("=")
    config[name] = json.loads(value)
json.dump(config, open(f"{out}/config.json", "w"))

raw = open(f"{base}/model.safetensors", "rb").read()
n = int.from_bytes(raw[:8], "little")
header = json.loads(raw[8:8 + n])
header.pop("__metadata__", None)
r = np.random.default_rng(5)
tensors = {}
for name, t in header.items():
    a, b = t["data_offsets"]
    tensors[name] = np.frombuffer(raw[8 + n + a:8 + n + b], "<f4").reshape(t["shape"])
    if name.endswith(("mlp.gate.weight", "q_proj.weight", "o_proj.weight", "v_proj.weight")):
        tensors[name] = tensors[name] * np.float32(12)

H, E = config["hidden_size"], config["num_experts"]
pools = config.get("expert_pools") or [list(range(E))]


def add(name, *shape, scale=1.0):
    tensors["model.layers." + name] = (r.standard_normal(shape) * scale).astype("<f4")


for layer in range(config["num_hidden_layers"]):
    depth = layer in config.get("depth_layers", [])
    if depth:
        add(f"{layer}.depth.weight", 1, H)
    if not config.get("aux_routers"):
        continue
    parts = [f"{layer}.mlp.aux.{m}" for m in range(len(pools))] if config.get("router_choice") == "expert" else []
    for m, part in enumerate(parts):
        add(f"{part}.fc1.weight", H // 2, H)
        add(f"{part}.fc2.weight", len(pools[m]), H // 2)
    if depth:
        add(f"{layer}.depth_aux.fc1.weight", H // 2, H, scale=30)
        add(f"{layer}.depth_aux.fc2.weight", 1, H // 2)
    if config.get("aux_threshold") == "stored":
        if parts:
            add(f"{layer}.mlp.aux_threshold", E)
        if depth:
            add(f"{layer}.depth_threshold", 1, scale=0.3)

offset, header = 0, {}
for name, t in tensors.items():
    header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [offset, offset + t.nbytes]}
    offset += t.nbytes
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(f"{out}/model.safetensors", "wb") as f:
    f.write(len(text).to_bytes(8, "little") + text)
    for t in tensors.values():
        f.write(np.ascontiguousarray(t).tobytes())
